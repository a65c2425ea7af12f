package main

import (
	"math/rand/v2"
	"syscall"
)

const (
	frameSize = 2048              // an Ethernet frame with an MTU of 1500, and a reserve
	maxQueued = 65536             // frames in flight: 780 ms of full frames at 1 Gbit/s
	backlogNs = 200 * 1000 * 1000 // a bandwidth limit queues this much time, then it drops frames
	batch     = 16                // frames that are read before the turn of the next link
)

// Settings of one direction.
type Settings struct {
	DelayMs       float64 `json:"delay_ms"`
	Loss          float64 `json:"loss"`           // share from 0 to 1
	BandwidthMbit float64 `json:"bandwidth_mbit"` // 0: unlimited
	Cut           bool    `json:"cut"`
}

// Counters of one direction since the daemon started.
type Counters struct {
	Frames  uint64 `json:"frames"`
	Bytes   uint64 `json:"bytes"`
	Dropped uint64 `json:"dropped"`
}

type frame struct {
	due  int64
	size int
	data *[frameSize]byte
}

// Direction carries frames from one end of a link to the other. Only the loop's thread touches it.
type Direction struct {
	Settings
	Counters
	in, out   int // raw sockets, -1 if an end has no interface
	queue     []frame
	head      int
	busyUntil int64
	lastDue   int64
}

// pool of buffers. Only the loop's thread uses it.
type pool struct{ free []*[frameSize]byte }

func (p *pool) get() *[frameSize]byte {
	if n := len(p.free); n > 0 {
		data := p.free[n-1]
		p.free = p.free[:n-1]
		return data
	}
	return new([frameSize]byte)
}

func (p *pool) put(data *[frameSize]byte) { p.free = append(p.free, data) }

// sendDue sends all due frames and returns the time at which the next frame is due, or 0 if the queue is empty.
func (d *Direction) sendDue(p *pool) int64 {
	for d.head < len(d.queue) {
		f := &d.queue[d.head]
		if f.due > now() {
			return f.due
		}
		d.send(f.data[:f.size])
		p.put(f.data)
		f.data = nil
		d.head++
	}
	d.queue, d.head = d.queue[:0], 0
	return 0
}

func (d *Direction) send(data []byte) {
	if d.Cut { // a cut cable loses the frames on it
		d.Dropped++
	} else if write(d.out, data) != 0 {
		d.Dropped++
	} else {
		d.Frames++
		d.Bytes += uint64(len(data))
	}
}

// receive reads frames that have arrived. It returns false if the interface is gone.
func (d *Direction) receive(p *pool) bool {
	for range batch {
		data := p.get()
		size, err := read(d.in, data[:])
		if err != 0 || size <= 0 {
			p.put(data)
			return err == syscall.EAGAIN || err == syscall.EINTR
		}
		if !d.enqueue(data, size) {
			d.Dropped++
			p.put(data)
		}
	}
	return true
}

// enqueue puts the frame on the link. It returns false if the frame is lost. Frames keep their order when the delay shrinks.
func (d *Direction) enqueue(data *[frameSize]byte, size int) bool {
	if d.Cut || size == frameSize || len(d.queue)-d.head >= maxQueued || (d.Loss > 0 && rand.Float64() < d.Loss) {
		return false
	}
	begin := now()
	if d.BandwidthMbit > 0 {
		if d.busyUntil > begin+backlogNs {
			return false
		}
		d.busyUntil = max(d.busyUntil, begin) + int64(float64(size*8)*1000/d.BandwidthMbit)
		begin = d.busyUntil
	}
	d.lastDue = max(begin+int64(d.DelayMs*1e6), d.lastDue)
	if d.head > 4096 && d.head*2 > len(d.queue) {
		d.queue, d.head = d.queue[:copy(d.queue, d.queue[d.head:])], 0
	}
	d.queue = append(d.queue, frame{due: d.lastDue, size: size, data: data})
	return true
}

// close stops the direction. Frames on the link are lost, so that a new start begins with an empty link.
func (d *Direction) close(p *pool) {
	for _, f := range d.queue[d.head:] {
		p.put(f.data)
	}
	d.queue, d.head, d.lastDue, d.busyUntil = d.queue[:0], 0, 0, 0
	for _, fd := range []int{d.in, d.out} {
		if fd >= 0 {
			syscall.Close(fd)
		}
	}
	d.in, d.out = -1, -1
}
