package main

import (
	"runtime"
	"syscall"
)

// Loop carries all frames and applies all requests, on one thread. Nothing is shared, so nothing is locked. A request is
// applied between two frames, and a flood of frames takes at most one core at real-time priority.
type Loop struct {
	wires   map[string]*Wire
	buffers pool
	jobs    chan job
	wakeFd  int  // event descriptor: a job waits
	changed bool // the set of open sockets has changed
}

type job struct {
	ops  []Op
	done chan answer
}

func newLoop() (*Loop, error) {
	wakeFd, err := eventFd()
	if err != nil {
		return nil, err
	}
	return &Loop{wires: map[string]*Wire{}, jobs: make(chan job, 16), wakeFd: wakeFd, changed: true}, nil
}

// submit lets the loop apply the operations and returns the state after them.
func (l *Loop) submit(ops []Op) answer {
	wanted := job{ops: ops, done: make(chan answer, 1)}
	l.jobs <- wanted
	wake(l.wakeFd)
	return <-wanted.done
}

func (l *Loop) run() {
	runtime.LockOSThread()
	prioritizeLoop()
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
				fds[i+1].fd = -1 // the interface is gone; the next start of its machine attaches a new one
			}
		}
		if fds[0].revents != 0 {
			l.runJobs()
		}
	}
}

// open lists the open directions and the descriptors to wait for. The event descriptor is the first of them.
func (l *Loop) open(active []*Direction, fds []pollFd) ([]*Direction, []pollFd, bool) {
	fds = append(fds, pollFd{fd: int32(l.wakeFd), events: pollIn})
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

func (l *Loop) runJobs() {
	var count [8]byte
	_, _ = syscall.Read(l.wakeFd, count[:])
	for {
		select {
		case wanted := <-l.jobs:
			wanted.done <- l.applyAll(wanted.ops)
		default:
			return
		}
	}
}

func (l *Loop) applyAll(ops []Op) answer {
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
