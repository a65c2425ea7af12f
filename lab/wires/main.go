// Command wires imitates the estate's circuits: it carries frames between pairs of interfaces of its network namespace
// with delay, loss and limited bandwidth, all changeable while frames flow, and can fall silent without any loss of carrier.
//
// It obeys JSON lines on a Unix socket, one request a line: {"ops": [...]}; the answer is one line with "error" or the
// state of every wire. A request's orders are obeyed together, so a site's circuits fall silent within microseconds.
package main

import (
	"bufio"
	"encoding/json"
	"flag"
	"fmt"
	"net"
	"os"
	"os/signal"
	"runtime"
	"runtime/debug"
	"syscall"
)

type request struct {
	Ops []Op `json:"ops"`
}

type directionState struct {
	Settings
	Frames  uint64 `json:"frames"`
	Bytes   uint64 `json:"bytes"`
	Dropped uint64 `json:"dropped"`
}

type wireState struct {
	Ends       [2]string         `json:"ends"`
	Directions [2]directionState `json:"directions"`
}

type answer struct {
	Error string               `json:"error,omitempty"`
	Wires map[string]wireState `json:"wires"`
}

func (b *Board) obey(line []byte) answer {
	var wanted request
	if err := json.Unmarshal(line, &wanted); err != nil {
		return answer{Error: fmt.Sprintf("not a request: %v", err)}
	}
	b.lock.Lock()
	defer b.lock.Unlock()
	for _, op := range wanted.Ops {
		if err := b.Apply(op); err != nil {
			return answer{Error: err.Error(), Wires: b.state()}
		}
	}
	return answer{Wires: b.state()}
}

func (b *Board) state() map[string]wireState {
	states := make(map[string]wireState, len(b.wires))
	for name, wire := range b.wires {
		state := wireState{Ends: wire.ends}
		for i, d := range wire.directions {
			state.Directions[i] = directionState{
				Settings: *d.settings.Load(), Frames: d.counters.Frames.Load(),
				Bytes: d.counters.Bytes.Load(), Dropped: d.counters.Dropped.Load(),
			}
		}
		states[name] = state
	}
	return states
}

func (b *Board) serve(connection net.Conn) {
	defer connection.Close()
	lines := bufio.NewScanner(connection)
	lines.Buffer(nil, 1<<20)
	out := json.NewEncoder(connection)
	for lines.Scan() {
		if err := out.Encode(b.obey(lines.Bytes())); err != nil {
			return
		}
	}
}

func main() {
	socket := flag.String("socket", "", "path of the control socket")
	flag.Parse()
	if *socket == "" {
		flag.Usage()
		os.Exit(2)
	}
	// The data path allocates nothing once warm; a collection would only stop the threads.
	debug.SetGCPercent(400)
	// Every direction has a thread of its own; none may wait for a turn when it comes back from the kernel.
	runtime.GOMAXPROCS(64)
	_ = os.Remove(*socket)
	listener, err := net.Listen("unix", *socket)
	if err != nil {
		fmt.Fprintln(os.Stderr, "wires:", err)
		os.Exit(1)
	}
	_ = os.Chmod(*socket, 0o600)
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGTERM, syscall.SIGINT)
	go func() {
		<-stop
		_ = os.Remove(*socket)
		os.Exit(0)
	}()
	board := &Board{wires: map[string]*Wire{}}
	for {
		connection, err := listener.Accept()
		if err != nil {
			fmt.Fprintln(os.Stderr, "wires:", err)
			os.Exit(1)
		}
		go board.serve(connection)
	}
}
