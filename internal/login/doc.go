// Package login proves who somebody is, through their own server: it starts a
// sign-in, binds it to the browser that started it, and turns the way back into
// a signed-in device, a neutral refusal, or an error that says what to do.
package login
