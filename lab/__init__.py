"""One Linux machine as the estate: machines, disks, wires, power and link faults. Only machines and wires are imitated."""
