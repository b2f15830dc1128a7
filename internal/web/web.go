// Package web is the pages of an instance: server-rendered, working without
// scripts, one file per action. It parses a request, authorizes it, calls one
// capability and renders; it holds no rule of the domain and no SQL.
package web
