package main

import (
	"bytes"
	"image"
	"image/color"
	"image/png"
	"math"
)

// palette is what a scene is painted with, from the top of the sky to the land.
type palette struct {
	says                        string
	high, low, sun, water, land color.RGBA
}

var palettes = []palette{
	{"dusk: a low sun over dark water and the shapes of islands", rgb(0x23, 0x4b, 0x6e), rgb(0xf2, 0xb8, 0x7c), rgb(0xff, 0xee, 0xc2), rgb(0x2f, 0x6f, 0x86), rgb(0x16, 0x2d, 0x38)},
	{"a clear day: green islands, a pale sky, bright water", rgb(0x8f, 0xc7, 0xd9), rgb(0xf6, 0xef, 0xdc), rgb(0xff, 0xff, 0xf0), rgb(0x4f, 0xa3, 0xa8), rgb(0x6b, 0x7a, 0x4a)},
	{"night: the moon and many stars over black islands", rgb(0x0c, 0x14, 0x2b), rgb(0x2b, 0x3f, 0x63), rgb(0xe9, 0xee, 0xf7), rgb(0x12, 0x22, 0x3d), rgb(0x05, 0x09, 0x12)},
	{"a grey day: mist over still water, islands hardly to be seen", rgb(0xb9, 0xc4, 0xc6), rgb(0xe4, 0xe8, 0xe4), rgb(0xf4, 0xf4, 0xee), rgb(0xa3, 0xb5, 0xb8), rgb(0x7d, 0x8c, 0x8c)},
	{"a red evening: the sun over violet water and dark islands", rgb(0xe0, 0x7a, 0x5f), rgb(0xf4, 0xd3, 0x94), rgb(0xff, 0xf6, 0xd8), rgb(0x81, 0x6a, 0x8d), rgb(0x3d, 0x2b, 0x45)},
}

// tones picks the palette that fits a scene; others get theirs from the name.
var tones = map[string]int{"stars": 2, "chart": 2, "fog": 3, "meadow": 4, "jetty": 0, "boat": 4, "garden": 1, "beach": 1, "island": 1, "salt": 3}

func toneOf(scene string) int {
	if tone, known := tones[scene]; known {
		return tone
	}
	return diceFor(scene, 0).IntN(len(palettes))
}

// altOf says what a scene shows to those who don't see it.
func altOf(scene string) string { return "A painting of " + palettes[toneOf(scene)].says + "." }

func rgb(r, g, b uint8) color.RGBA { return color.RGBA{r, g, b, 0xff} }

// paint makes a PNG of a shore that is named after the scene: sky, sun or moon, islands, and water that takes up their
// colours. The same name gives the same bytes.
func paint(scene string, width, height int) ([]byte, error) {
	dice := diceFor(scene, width)
	tone := toneOf(scene)
	s := shore{palette: palettes[tone], width: float64(width), height: float64(height), night: tone == 2}
	s.horizon = 0.45 + 0.2*dice.Float64()
	s.sunX, s.sunY = 0.15+0.7*dice.Float64(), s.horizon*(0.3+0.5*dice.Float64())
	for range 3 + dice.IntN(3) {
		s.hills = append(s.hills, hill{dice.Float64(), 0.08 + 0.25*dice.Float64(), 0.04 + 0.16*dice.Float64(), dice.Float64() * 6})
	}
	img := image.NewRGBA(image.Rect(0, 0, width, height))
	for y := range height {
		for x := range width {
			img.SetRGBA(x, y, s.at(float64(x)/s.width, float64(y)/s.height))
		}
	}
	if s.night {
		for range 260 {
			x, y := dice.Float64(), s.horizon*0.95*dice.Float64()
			if s.at(x, y) == s.skyAt(x, y) { // not in front of a hill
				img.SetRGBA(int(x*s.width), int(y*s.height), rgb(0xff, 0xfb, 0xe8))
			}
		}
	}
	var out bytes.Buffer
	encoder := png.Encoder{CompressionLevel: png.BestSpeed}
	err := encoder.Encode(&out, img)
	return out.Bytes(), err
}

// shore is a scene in coordinates from 0 to 1.
type shore struct {
	palette
	width, height, horizon, sunX, sunY float64
	night                              bool
	hills                              []hill
}

type hill struct{ x, width, height, phase float64 }

func (s shore) at(x, y float64) color.RGBA {
	if y > s.horizon {
		return s.waterAt(x, y)
	}
	for _, h := range s.hills {
		if y > s.horizon-h.over(x) {
			return mix(s.land, s.low, 0.35*h.height/0.2)
		}
	}
	return s.skyAt(x, y)
}

func (s shore) skyAt(x, y float64) color.RGBA {
	ratio := s.width / s.height
	distance := math.Hypot((x-s.sunX)*ratio, y-s.sunY)
	sky := mix(s.high, s.low, math.Pow(y/s.horizon, 1.4))
	if distance < 0.055 {
		return s.sun
	}
	return mix(s.sun, sky, math.Min(1, 0.55+distance*1.6))
}

// waterAt mirrors the sky, darker towards the viewer, broken by waves.
func (s shore) waterAt(x, y float64) color.RGBA {
	depth := (y - s.horizon) / (1 - s.horizon)
	wave := math.Sin(y*220/(0.3+depth)+7*math.Sin(x*9+y*30)) * 0.5
	mirrored := s.skyAt(x+0.01*wave, math.Max(0, s.horizon-(y-s.horizon)*0.8))
	return mix(mirrored, s.water, math.Min(1, 0.45+0.4*depth+0.12*wave))
}

// over is how far the hill rises above the horizon at x.
func (h hill) over(x float64) float64 {
	t := (x - h.x) / h.width
	if t < -1 || t > 1 {
		return 0
	}
	return h.height * (1 - t*t) * (0.85 + 0.15*math.Sin(t*5+h.phase))
}

// mix is a at 0 and b at 1.
func mix(a, b color.RGBA, t float64) color.RGBA {
	t = math.Max(0, math.Min(1, t))
	part := func(a, b uint8) uint8 { return uint8(float64(a) + (float64(b)-float64(a))*t) }
	return color.RGBA{part(a.R, b.R), part(a.G, b.G), part(a.B, b.B), 0xff}
}
