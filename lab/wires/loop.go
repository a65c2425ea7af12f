package main

import (
	"runtime"
	"syscall"
)

// Loop carries all frames and obeys all orders, on one thread: nothing is shared, so nothing is locked, orders fall between
// frames, and a flood takes at most one core at real-time priority.
type Loop struct {
	wires   map[string]*Wire
	buffers pool
	jobs    chan job
	bell    int  // event descriptor: a job waits
	changed bool // the set of open sockets is another one
}

type job struct {
	ops  []Op
	done chan answer
}

func newLoop() (*Loop, error) {
	bell, err := eventFd()
	if err != nil {
		return nil, err
	}
	return &Loop{wires: map[string]*Wire{}, jobs: make(chan job, 16), bell: bell, changed: true}, nil
}

// submit has the orders obeyed and returns the state after them.
func (l *Loop) submit(ops []Op) answer {
	wanted := job{ops: ops, done: make(chan answer, 1)}
	l.jobs <- wanted
	ring(l.bell)
	return <-wanted.done
}

func (l *Loop) run() {
	runtime.LockOSThread()
	punctual()
	var active []*Direction
	var fds []pollFd
	for {
		if l.changed {
			active, fds, l.changed = l.open(active[:0], fds[:0])
		}
		next := int64(0)
		for _, d := range active {
			if due := d.sendDue(&l.buffers); due != 0 && (next == 0 || due < next) {
				next = due
			}
		}
		timeout := int64(-1)
		if next != 0 {
			timeout = max(0, next-now())
		}
		wait(fds, timeout)
		for i, d := range active {
			if fds[i+1].revents != 0 && !d.receive(&l.buffers) {
				fds[i+1].fd = -1 // the interface is gone; its machine's next start attaches another
			}
		}
		if fds[0].revents != 0 {
			l.obey()
		}
	}
}

// open lists the directions that flow, with what to wait for: the bell first.
func (l *Loop) open(active []*Direction, fds []pollFd) ([]*Direction, []pollFd, bool) {
	fds = append(fds, pollFd{fd: int32(l.bell), events: pollIn})
	for _, wire := range l.wires {
		for _, d := range wire.directions {
			if d.in >= 0 {
				active = append(active, d)
				fds = append(fds, pollFd{fd: int32(d.in), events: pollIn})
			}
		}
	}
	return active, fds, false
}

func (l *Loop) obey() {
	var count [8]byte
	_, _ = syscall.Read(l.bell, count[:])
	for {
		select {
		case wanted := <-l.jobs:
			wanted.done <- l.all(wanted.ops)
		default:
			return
		}
	}
}

func (l *Loop) all(ops []Op) answer {
	for _, op := range ops {
		if err := l.apply(op); err != nil {
			return answer{Error: err.Error(), Wires: l.state()}
		}
	}
	return answer{Wires: l.state()}
}

func (l *Loop) state() map[string]wireState {
	states := make(map[string]wireState, len(l.wires))
	for name, wire := range l.wires {
		state := wireState{Ends: wire.ends}
		for i, d := range wire.directions {
			state.Directions[i] = directionState{d.Settings, d.Counters}
		}
		states[name] = state
	}
	return states
}
