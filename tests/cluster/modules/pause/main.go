// What holds a pod's namespaces: it waits to be told to end, and buries what its pod has orphaned.
package main

import (
	"os"
	"os/signal"
	"syscall"
)

func main() {
	ends := make(chan os.Signal, 1)
	signal.Notify(ends, syscall.SIGINT, syscall.SIGTERM)
	// Whose children's ends are ignored has none to bury.
	signal.Ignore(syscall.SIGCHLD)
	<-ends
}
