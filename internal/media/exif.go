package media

import "encoding/binary"

// maxOrientation is the last of the eight ways in which a camera can be held.
const maxOrientation = 8

// orientation reads how the camera was held from a TIFF block (Exif 2.32, tag
// 0x0112 of the first directory). 0 means that it does not say.
func orientation(tiff []byte) int {
	if len(tiff) < 8 {
		return 0
	}
	var order binary.ByteOrder = binary.LittleEndian
	switch string(tiff[:4]) {
	case "II*\x00":
	case "MM\x00*":
		order = binary.BigEndian
	default:
		return 0
	}
	at := uint64(order.Uint32(tiff[4:]))
	if at+2 > uint64(len(tiff)) {
		return 0
	}
	entries := tiff[at+2:]
	for range order.Uint16(tiff[at:]) {
		if len(entries) < 12 {
			return 0
		}
		const tag, short = 0x0112, 3
		if order.Uint16(entries) == tag && order.Uint16(entries[2:]) == short && order.Uint32(entries[4:]) == 1 {
			if o := int(order.Uint16(entries[8:])); o >= 1 && o <= maxOrientation {
				return o
			}
			return 0
		}
		entries = entries[12:]
	}
	return 0
}

// turned is a TIFF block that says nothing but an orientation.
func turned(o int) []byte {
	return []byte{'M', 'M', 0, '*', 0, 0, 0, 8, // one directory, right here
		0, 1, // of one entry:
		0x01, 0x12, 0, 3, 0, 0, 0, 1, 0, byte(o), 0, 0,
		0, 0, 0, 0} // and no other
}
