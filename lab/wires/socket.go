package main

import (
	"encoding/binary"
	"fmt"
	"net"
	"os"
	"strconv"
	"syscall"
	"time"
	"unsafe"
)

const (
	ethPAll              = 0x0003
	packetQdiscBypass    = 20
	packetIgnoreOutgoing = 23
	receiveBuffer        = 16 << 20
)

// htons because AF_PACKET wants the protocol in network order.
func htons(v uint16) uint16 { return v<<8 | v>>8 }

// receiver opens a raw socket that sees every frame arriving at the interface, and none that leave by it.
func receiver(name string) (int, error) {
	fd, err := packetSocket(name, ethPAll)
	if err != nil {
		return -1, err
	}
	if err := syscall.SetsockoptInt(fd, syscall.SOL_PACKET, packetIgnoreOutgoing, 1); err != nil {
		syscall.Close(fd)
		return -1, fmt.Errorf("%s: PACKET_IGNORE_OUTGOING: %w", name, err)
	}
	// A burst waits here while the thread sends; the default of 200 kB would lose it.
	_ = syscall.SetsockoptInt(fd, syscall.SOL_SOCKET, syscall.SO_RCVBUFFORCE, receiveBuffer)
	return fd, nil
}

// sender opens a raw socket that only writes to the interface.
func sender(name string) (int, error) {
	fd, err := packetSocket(name, 0)
	if err != nil {
		return -1, err
	}
	_ = syscall.SetsockoptInt(fd, syscall.SOL_PACKET, packetQdiscBypass, 1)
	return fd, nil
}

func packetSocket(name string, protocol uint16) (int, error) {
	iface, err := net.InterfaceByName(name)
	if err != nil {
		return -1, fmt.Errorf("%s: %w", name, err)
	}
	fd, err := syscall.Socket(syscall.AF_PACKET, syscall.SOCK_RAW|syscall.SOCK_NONBLOCK|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, fmt.Errorf("%s: socket: %w", name, err)
	}
	address := syscall.SockaddrLinklayer{Protocol: htons(protocol), Ifindex: iface.Index}
	if err := syscall.Bind(fd, &address); err != nil {
		syscall.Close(fd)
		return -1, fmt.Errorf("%s: bind: %w", name, err)
	}
	return fd, nil
}

type pollFd struct {
	fd      int32
	events  int16
	revents int16
}

const pollIn = 1

// wait sleeps until one of the descriptors is readable or the time is over; negative is forever.
// poll and select count in milliseconds or leave the kernel 50 µs of slack; ppoll with the thread's slack at 1 ns does not.
func wait(fds []pollFd, nanoseconds int64) {
	var limit *syscall.Timespec
	var value syscall.Timespec
	if nanoseconds >= 0 {
		value = syscall.NsecToTimespec(nanoseconds)
		limit = &value
	}
	for i := range fds {
		fds[i].revents = 0 // an interrupted call leaves the last answer
	}
	_, _, _ = syscall.Syscall6(syscall.SYS_PPOLL, uintptr(unsafe.Pointer(&fds[0])), uintptr(len(fds)),
		uintptr(unsafe.Pointer(limit)), 0, 0, 0)
}

func eventFd() (int, error) {
	fd, _, errno := syscall.Syscall(syscall.SYS_EVENTFD2, 0, syscall.O_CLOEXEC|syscall.O_NONBLOCK, 0)
	if errno != 0 {
		return -1, errno
	}
	return int(fd), nil
}

// ring makes a thread that waits on the event descriptor look at it.
func ring(fd int) {
	var one [8]byte
	binary.NativeEndian.PutUint64(one[:], 1)
	_, _ = syscall.Write(fd, one[:])
}

const loopPriority, otherPriority = 10, 9

// realtime makes every thread of the process run before all that is not real-time, where that is allowed. The loop's own
// priority is not enough: the runtime stops the world for its housekeeping, and a thread that waits for a processor then
// holds up every circuit until BFD takes them for dead. New threads inherit it.
func realtime() {
	for range 3 { // a thread may have started another before its turn came
		threads, _ := os.ReadDir("/proc/self/task")
		for _, thread := range threads {
			if id, err := strconv.Atoi(thread.Name()); err == nil {
				schedule(id, otherPriority)
			}
		}
	}
}

// punctual makes the calling thread wake on time: before the process's other threads, and with no timer slack.
func punctual() {
	const prSetTimerslack = 29
	_, _, _ = syscall.RawSyscall6(syscall.SYS_PRCTL, prSetTimerslack, 1, 0, 0, 0, 0)
	schedule(0, loopPriority)
}

// schedule gives a thread a real-time priority; 0 is the calling one.
func schedule(thread int, priority int32) {
	const schedRR = 2
	_, _, _ = syscall.RawSyscall(syscall.SYS_SCHED_SETSCHEDULER, uintptr(thread), schedRR, uintptr(unsafe.Pointer(&priority)))
}

var start = time.Now()

// now is the monotonic clock, in nanoseconds since the daemon's start.
func now() int64 { return int64(time.Since(start)) }
