"""The estate on one Linux machine: machines, disks, links, power, link faults. Only machines and links are imitated."""
