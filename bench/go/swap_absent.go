// SPDX-License-Identifier: MIT

//go:build !go1.20

// In place of swap.go, with a Go that is too old for it.
package main

var swapWorkloads = []goWorkload{
	{name: "SwapCollision", lacks: "Swap"},
	{name: "SwapMostlyHits", lacks: "Swap"},
	{name: "SwapMostlyMisses", lacks: "Swap"},
	{name: "CompareAndSwapCollision", lacks: "CompareAndSwap"},
	{name: "CompareAndSwapNoExistingKey", lacks: "CompareAndSwap"},
	{name: "CompareAndSwapValueNotEqual", lacks: "CompareAndSwap"},
	{name: "CompareAndSwapMostlyHits", lacks: "CompareAndSwap"},
	{name: "CompareAndSwapMostlyMisses", lacks: "CompareAndSwap"},
	{name: "CompareAndDeleteCollision", lacks: "CompareAndDelete"},
	{name: "CompareAndDeleteMostlyHits", lacks: "CompareAndDelete"},
	{name: "CompareAndDeleteMostlyMisses", lacks: "CompareAndDelete"},
}
