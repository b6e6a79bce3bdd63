// SPDX-License-Identifier: MIT

//go:build !go1.23

// In place of clear.go, with a Go that is too old for it.
package main

var clearWorkloads = []goWorkload{{name: "Clear", lacks: "Clear"}}
