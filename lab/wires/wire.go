package main

import (
	"fmt"
	"sync"
	"syscall"
)

// Wire joins two interfaces of this network namespace. An end whose machine is off has no interface: nothing arrives there.
type Wire struct {
	ends       [2]string
	directions [2]*Direction // 0: from end 0 to end 1
	stop       int
	running    []chan struct{}
}

// Board holds all wires. Its lock guards the wires' ends and threads, never the data path.
type Board struct {
	lock  sync.Mutex
	wires map[string]*Wire
}

// Op is one order. A request's orders are obeyed in turn, under one lock.
type Op struct {
	Op        string    `json:"op"` // add, set, attach, detach
	Wire      string    `json:"wire"`
	End       int       `json:"end"`       // attach, detach
	Interface string    `json:"interface"` // attach
	Direction int       `json:"direction"` // set: 0, 1, or -1 for both
	Settings  *Settings `json:"settings"`  // add, set
	Cut       *bool     `json:"cut"`       // set: only this
}

// Apply obeys one order; the caller holds the lock.
func (b *Board) Apply(op Op) error {
	wire := b.wires[op.Wire]
	if op.Op == "add" {
		if wire != nil || op.Settings == nil {
			return fmt.Errorf("wire %s: exists already or has no settings", op.Wire)
		}
		wire = &Wire{directions: [2]*Direction{{}, {}}, stop: -1}
		for _, d := range wire.directions {
			copied := *op.Settings
			d.settings.Store(&copied)
		}
		b.wires[op.Wire] = wire
		return nil
	}
	if wire == nil {
		return fmt.Errorf("no wire %q", op.Wire)
	}
	switch op.Op {
	case "set":
		return wire.set(op)
	case "attach", "detach":
		if op.End != 0 && op.End != 1 {
			return fmt.Errorf("wire %s: end must be 0 or 1", op.Wire)
		}
		wire.halt()
		wire.ends[op.End] = op.Interface // empty on detach
		return wire.start()
	}
	return fmt.Errorf("unknown order %q", op.Op)
}

func (w *Wire) set(op Op) error {
	if op.Direction < -1 || op.Direction > 1 || (op.Settings == nil && op.Cut == nil) {
		return fmt.Errorf("wire %s: set needs a direction (-1, 0, 1) and settings or cut", op.Wire)
	}
	for i, d := range w.directions {
		if op.Direction != -1 && op.Direction != i {
			continue
		}
		next := *d.settings.Load()
		if op.Settings != nil {
			next = *op.Settings
		}
		if op.Cut != nil {
			next.Cut = *op.Cut
		}
		d.settings.Store(&next)
	}
	return nil
}

// start runs both directions where both ends have an interface.
func (w *Wire) start() error {
	if w.ends[0] == "" || w.ends[1] == "" {
		return nil
	}
	var open []int
	fail := func(err error) error {
		for _, fd := range open {
			syscall.Close(fd)
		}
		return err
	}
	stop, err := eventFd()
	if err != nil {
		return fail(err)
	}
	open = append(open, stop)
	for i := range 2 {
		in, err := receiver(w.ends[i])
		if err != nil {
			return fail(err)
		}
		open = append(open, in)
		out, err := sender(w.ends[1-i])
		if err != nil {
			return fail(err)
		}
		open = append(open, out)
	}
	w.stop = stop
	for i, d := range w.directions {
		done := make(chan struct{})
		w.running = append(w.running, done)
		d.queue, d.head = d.queue[:0], 0
		go d.run(open[1+2*i], open[2+2*i], stop, done)
	}
	return nil
}

// halt ends both threads and waits for them; what was on the wire is lost.
func (w *Wire) halt() {
	if w.stop < 0 {
		return
	}
	wake(w.stop)
	for _, done := range w.running {
		<-done
	}
	syscall.Close(w.stop)
	w.stop, w.running = -1, nil
}
