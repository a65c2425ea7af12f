package main

import (
	"encoding/binary"
	"math/rand/v2"
	"runtime"
	"sync/atomic"
	"syscall"
)

const (
	frameSize = 2048              // an Ethernet frame with an MTU of 1500 and some
	maxQueued = 65536             // frames in flight: 780 ms of full frames at 1 Gbit/s
	backlogNs = 200 * 1000 * 1000 // what a bandwidth limit may hold back before it drops
	batch     = 64                // frames read before due ones are sent again
)

// Settings of one direction, replaced as a whole so that the data path needs no lock.
type Settings struct {
	DelayMs       float64 `json:"delay_ms"`
	Loss          float64 `json:"loss"`           // share from 0 to 1
	BandwidthMbit float64 `json:"bandwidth_mbit"` // 0: unlimited
	Cut           bool    `json:"cut"`
}

// Counters of one direction since the daemon started.
type Counters struct {
	Frames  atomic.Uint64
	Bytes   atomic.Uint64
	Dropped atomic.Uint64
}

type frame struct {
	due  int64
	size int
	data *[frameSize]byte
}

// Direction carries frames from one end of a wire to the other. One thread, no shared state but atomics.
type Direction struct {
	settings atomic.Pointer[Settings]
	counters Counters
	// Only the thread uses these.
	queue     []frame
	head      int
	free      []*[frameSize]byte
	busyUntil int64
	lastDue   int64
}

// run carries frames until stop is readable. It owns in and out and closes them.
func (d *Direction) run(in, out, stop int, done chan<- struct{}) {
	runtime.LockOSThread() // never unlocked: the thread ends with its priority
	punctual()
	defer close(done)
	defer syscall.Close(in)
	defer syscall.Close(out)
	fds := []pollFd{{fd: int32(in), events: pollIn}, {fd: int32(stop), events: pollIn}}
	for {
		timeout := d.sendDue(out)
		wait(fds, timeout)
		if fds[1].revents != 0 {
			return
		}
		if fds[0].revents&pollIn != 0 {
			d.receive(in)
		} else if fds[0].revents != 0 {
			fds[0].fd = -1 // the interface is gone; wait to be stopped
		}
		fds[0].revents, fds[1].revents = 0, 0
	}
}

// sendDue sends what is due and returns the time to the next frame, -1 where none waits.
func (d *Direction) sendDue(out int) int64 {
	for d.head < len(d.queue) {
		f := d.queue[d.head]
		if left := f.due - now(); left > 0 {
			return left
		}
		if d.settings.Load().Cut {
			d.counters.Dropped.Add(1) // a cut cable loses what is on it
		} else if _, err := syscall.Write(out, f.data[:f.size]); err != nil {
			d.counters.Dropped.Add(1)
		} else {
			d.counters.Frames.Add(1)
			d.counters.Bytes.Add(uint64(f.size))
		}
		d.free = append(d.free, f.data)
		d.queue[d.head].data = nil
		d.head++
	}
	d.queue, d.head = d.queue[:0], 0
	return -1
}

func (d *Direction) receive(in int) {
	for range batch {
		data := d.buffer()
		size, err := syscall.Read(in, data[:])
		if err != nil || size <= 0 {
			d.free = append(d.free, data)
			return
		}
		if !d.enqueue(data, size) {
			d.counters.Dropped.Add(1)
			d.free = append(d.free, data)
		}
	}
}

// enqueue puts the frame on the wire; false where it is lost. Order is kept when the delay shrinks.
func (d *Direction) enqueue(data *[frameSize]byte, size int) bool {
	s := d.settings.Load()
	if s.Cut || size == frameSize || len(d.queue)-d.head >= maxQueued || (s.Loss > 0 && rand.Float64() < s.Loss) {
		return false
	}
	start := now()
	if s.BandwidthMbit > 0 {
		if d.busyUntil > start+backlogNs {
			return false
		}
		d.busyUntil = max(d.busyUntil, start) + int64(float64(size*8)*1000/s.BandwidthMbit)
		start = d.busyUntil
	}
	due := max(start+int64(s.DelayMs*1e6), d.lastDue)
	d.lastDue = due
	if d.head > 4096 && d.head*2 > len(d.queue) {
		d.queue, d.head = d.queue[:copy(d.queue, d.queue[d.head:])], 0
	}
	d.queue = append(d.queue, frame{due: due, size: size, data: data})
	return true
}

func (d *Direction) buffer() *[frameSize]byte {
	if n := len(d.free); n > 0 {
		data := d.free[n-1]
		d.free = d.free[:n-1]
		return data
	}
	return new([frameSize]byte)
}

// wake makes a thread that waits on the event descriptor look at it.
func wake(fd int) {
	var one [8]byte
	binary.NativeEndian.PutUint64(one[:], 1)
	_, _ = syscall.Write(fd, one[:])
}
