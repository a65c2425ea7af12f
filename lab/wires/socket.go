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

// htons converts to network order, in which AF_PACKET expects the protocol.
func htons(v uint16) uint16 { return v<<8 | v>>8 }

// receiver opens a raw socket that sees every frame arriving at the interface, but no frame that leaves by it.
func receiver(name string) (int, error) {
	fd, err := packetSocket(name, ethPAll)
	if err != nil {
		return -1, err
	}
	if err := syscall.SetsockoptInt(fd, syscall.SOL_PACKET, packetIgnoreOutgoing, 1); err != nil {
		syscall.Close(fd)
		return -1, fmt.Errorf("%s: PACKET_IGNORE_OUTGOING: %w", name, err)
	}
	// A burst waits in this buffer while the thread sends. The default of 200 kB would lose it.
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

// wait sleeps until a descriptor is readable or the time is over. A negative time has no end.
// poll and select count in milliseconds or leave the kernel 50 µs of slack. ppoll with a thread slack of 1 ns does neither.
func wait(fds []pollFd, nanoseconds int64) {
	var limit *syscall.Timespec
	var value syscall.Timespec
	if nanoseconds >= 0 {
		value = syscall.NsecToTimespec(nanoseconds)
		limit = &value
	}
	for i := range fds {
		fds[i].revents = 0 // an interrupted call does not overwrite the last result
	}
	_, _, _ = syscall.RawSyscall6(syscall.SYS_PPOLL, uintptr(unsafe.Pointer(&fds[0])), uintptr(len(fds)),
		uintptr(unsafe.Pointer(limit)), 0, 0, 0)
}

// read and write, like wait, do not tell Go's runtime that they enter the kernel. syscall.Read would: the runtime then wakes
// its monitoring thread for every call, several thousand times per second, which costs more than the frames. The runtime
// interrupts a long wait with a signal when it needs the thread.

// read reads one frame. It returns its size, or the error number.
func read(fd int, data []byte) (int, syscall.Errno) {
	size, _, err := syscall.RawSyscall(syscall.SYS_READ, uintptr(fd), uintptr(unsafe.Pointer(&data[0])), uintptr(len(data)))
	return int(size), err
}

// write sends one frame. It returns the error number, or 0.
func write(fd int, data []byte) syscall.Errno {
	_, _, err := syscall.RawSyscall(syscall.SYS_WRITE, uintptr(fd), uintptr(unsafe.Pointer(&data[0])), uintptr(len(data)))
	return err
}

func eventFd() (int, error) {
	fd, _, errno := syscall.Syscall(syscall.SYS_EVENTFD2, 0, syscall.O_CLOEXEC|syscall.O_NONBLOCK, 0)
	if errno != 0 {
		return -1, errno
	}
	return int(fd), nil
}

// wake ends the sleep of the thread that waits on the event descriptor.
func wake(fd int) {
	var one [8]byte
	binary.NativeEndian.PutUint64(one[:], 1)
	_, _ = syscall.Write(fd, one[:])
}

const loopPriority, otherPriority = 10, 9

// prioritizeProcess gives every thread of the process real-time priority, if the host allows it. The loop's own priority is
// not enough: Go's runtime stops all threads for its housekeeping. A thread that waits for a processor then blocks every
// link until BFD declares the links down. New threads inherit the priority.
func prioritizeProcess() {
	for range 3 { // a thread may have started another one before it got the priority
		threads, _ := os.ReadDir("/proc/self/task")
		for _, thread := range threads {
			if id, err := strconv.Atoi(thread.Name()); err == nil {
				schedule(id, otherPriority)
			}
		}
	}
}

// prioritizeLoop makes the calling thread wake on time: before the process's other threads and without timer slack.
func prioritizeLoop() {
	const prSetTimerslack = 29
	_, _, _ = syscall.RawSyscall6(syscall.SYS_PRCTL, prSetTimerslack, 1, 0, 0, 0, 0)
	schedule(0, loopPriority)
}

// schedule gives a thread a real-time priority. Thread 0 is the calling one.
func schedule(thread int, priority int32) {
	const schedRR = 2
	_, _, _ = syscall.RawSyscall(syscall.SYS_SCHED_SETSCHEDULER, uintptr(thread), schedRR, uintptr(unsafe.Pointer(&priority)))
}

var start = time.Now()

// now is the monotonic clock, in nanoseconds since the daemon's start.
func now() int64 { return int64(time.Since(start)) }
