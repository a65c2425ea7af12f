"""One Linux machine as the estate: machines, disks, wires, power, link faults. Only machines and wires are imitated."""
