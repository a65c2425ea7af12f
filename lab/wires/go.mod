module govcloud/lab/wires

go 1.22
