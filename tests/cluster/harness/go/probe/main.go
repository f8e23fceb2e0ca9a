// What a pod of the harness's own tests does: answers, or asks until it is answered.
//
//	probe serve ADDRESS
//	probe get URL...
package main

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"time"
)

const patience = 30 * time.Second

func main() {
	if os.Args[1] == "serve" {
		http.HandleFunc("/", func(answer http.ResponseWriter, _ *http.Request) { fmt.Fprint(answer, "hello") })
		fmt.Fprintln(os.Stderr, http.ListenAndServe(os.Args[2], nil))
		os.Exit(1)
	}
	fmt.Println("uid", os.Getuid())
	fmt.Println("write", os.WriteFile("/written", nil, 0o600))
	for _, url := range os.Args[2:] {
		get(url)
	}
}

func get(url string) {
	client := http.Client{Timeout: 2 * time.Second}
	for end := time.Now().Add(patience); ; time.Sleep(100 * time.Millisecond) {
		answer, err := client.Get(url)
		if err == nil {
			body, _ := io.ReadAll(answer.Body)
			fmt.Println(url, answer.StatusCode, string(body))
			return
		}
		if time.Now().After(end) {
			fmt.Println(url, err)
			os.Exit(1)
		}
	}
}
