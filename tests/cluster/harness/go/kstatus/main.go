// kstatus reads a JSON list of objects and writes the list of their statuses, as Flux and `kubectl wait` see them.
package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	integers "k8s.io/apimachinery/pkg/util/json"
	"sigs.k8s.io/cli-utils/pkg/kstatus/status"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run() error {
	var objects []map[string]any
	input, err := io.ReadAll(os.Stdin)
	if err != nil {
		return err
	}
	if err := integers.Unmarshal(input, &objects); err != nil {
		return err
	}
	found := make([]string, 0, len(objects))
	for _, object := range objects {
		computed, err := status.Compute(&unstructured.Unstructured{Object: object})
		if err != nil {
			return err
		}
		found = append(found, computed.Status.String())
	}
	return json.NewEncoder(os.Stdout).Encode(found)
}
