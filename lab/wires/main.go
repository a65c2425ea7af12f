// Command wires imitates the estate's links. It carries frames between pairs of interfaces of its network namespace,
// with delay, loss and limited bandwidth. All settings can change while frames flow. A link can be cut without any loss of
// carrier.
//
// It reads JSON lines from a Unix socket, one request per line: {"ops": [...]}. The answer is one line with the state of
// every link, and with "error" if an operation failed. No frame moves while a request is applied, so all links of a
// site stop at the same moment.
package main

import (
	"bufio"
	"encoding/json"
	"flag"
	"fmt"
	"net"
	"os"
	"os/signal"
	"syscall"
)

type request struct {
	Ops []Op `json:"ops"`
}

type directionState struct {
	Settings
	Counters
}

type wireState struct {
	Ends       [2]string         `json:"ends"`
	Directions [2]directionState `json:"directions"`
}

type answer struct {
	Error string               `json:"error,omitempty"`
	Wires map[string]wireState `json:"wires"`
}

func serve(loop *Loop, connection net.Conn) {
	defer connection.Close()
	lines := bufio.NewScanner(connection)
	lines.Buffer(nil, 1<<20)
	out := json.NewEncoder(connection)
	for lines.Scan() {
		var wanted request
		reply := answer{}
		if err := json.Unmarshal(lines.Bytes(), &wanted); err != nil {
			reply.Error = fmt.Sprintf("invalid request: %v", err)
		} else {
			reply = loop.submit(wanted.Ops)
		}
		if err := out.Encode(reply); err != nil {
			return
		}
	}
}

func fail(err error) {
	fmt.Fprintln(os.Stderr, "wires:", err)
	os.Exit(1)
}

func main() {
	socket := flag.String("socket", "", "path of the control socket")
	flag.Parse()
	if *socket == "" {
		flag.Usage()
		os.Exit(2)
	}
	prioritizeProcess()
	loop, err := newLoop()
	if err != nil {
		fail(err)
	}
	_ = os.Remove(*socket)
	syscall.Umask(0o077)
	listener, err := net.Listen("unix", *socket)
	if err != nil {
		fail(err)
	}
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGTERM, syscall.SIGINT)
	go func() {
		<-stop
		_ = os.Remove(*socket)
		os.Exit(0)
	}()
	go loop.run()
	for {
		connection, err := listener.Accept()
		if err != nil {
			fail(err)
		}
		go serve(loop, connection)
	}
}
