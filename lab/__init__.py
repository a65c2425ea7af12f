"""The estate on one Linux machine: machines, disks, wires, power, link faults. Only machines and wires are imitated."""
