package main

import "fmt"

// Wire joins two interfaces of this network namespace. The end of a powered-off machine has no interface: no frames flow.
type Wire struct {
	ends       [2]string
	directions [2]*Direction // 0: from end 0 to end 1
}

// Op is one operation. A request's operations are applied in their order, and no frame moves between them.
type Op struct {
	Op        string    `json:"op"` // add, set, attach, detach
	Wire      string    `json:"wire"`
	End       int       `json:"end"`       // attach, detach
	Interface string    `json:"interface"` // attach
	Direction int       `json:"direction"` // set: 0, 1, or -1 for both
	Settings  *Settings `json:"settings"`  // add, set
	Cut       *bool     `json:"cut"`       // set: changes only this
}

// apply applies one operation, on the loop's thread.
func (l *Loop) apply(op Op) error {
	wire := l.wires[op.Wire]
	if op.Op == "add" {
		if wire != nil || op.Settings == nil {
			return fmt.Errorf("wire %s exists already, or the operation has no settings", op.Wire)
		}
		wire = &Wire{}
		for i := range wire.directions {
			wire.directions[i] = &Direction{Settings: *op.Settings, in: -1, out: -1}
		}
		l.wires[op.Wire] = wire
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
		for _, d := range wire.directions {
			d.close(&l.buffers)
		}
		wire.ends[op.End] = op.Interface // empty on detach
		l.changed = true
		return wire.open(&l.buffers)
	}
	return fmt.Errorf("unknown operation %q", op.Op)
}

func (w *Wire) set(op Op) error {
	if op.Direction < -1 || op.Direction > 1 || (op.Settings == nil && op.Cut == nil) {
		return fmt.Errorf("wire of %v: set needs a direction (-1, 0, 1) and settings or cut", w.ends)
	}
	for i, d := range w.directions {
		if op.Direction != -1 && op.Direction != i {
			continue
		}
		if op.Settings != nil {
			d.Settings = *op.Settings
		}
		if op.Cut != nil {
			d.Cut = *op.Cut
		}
	}
	return nil
}

// open connects both directions if both ends have an interface.
func (w *Wire) open(p *pool) error {
	if w.ends[0] == "" || w.ends[1] == "" {
		return nil
	}
	for i, d := range w.directions {
		var err error
		if d.in, err = receiver(w.ends[i]); err == nil {
			d.out, err = sender(w.ends[1-i])
		}
		if err != nil {
			for _, each := range w.directions {
				each.close(p)
			}
			return err
		}
	}
	return nil
}
