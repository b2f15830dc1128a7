package media

import (
	"cmp"
	"container/list"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"
)

// disk keeps files in a folder, of at most so many bytes together; those that
// were not asked for the longest go first. What is in the folder can be fetched
// again, so that nothing of it need be saved.
type disk struct {
	folder string
	most   int64

	mu    sync.Mutex
	files map[string]*list.Element // of *kept, by name
	order *list.List               // least recently used first
	bytes int64
}

type kept struct {
	name string
	size int64
}

// unfinished begins the names of files that are being written.
const unfinished = "new-"

// openDisk reads what a folder has, and makes it when it is not there. What a
// process that died was writing is removed; one that is writing just now has to
// fetch its picture again.
func openDisk(folder string, most int64) (*disk, error) {
	d := &disk{folder: folder, most: most, files: map[string]*list.Element{}, order: list.New()}
	if err := os.MkdirAll(folder, 0o700); err != nil {
		return nil, fmt.Errorf("make the folder of pictures: %w", err)
	}
	entries, err := os.ReadDir(folder)
	if err != nil {
		return nil, fmt.Errorf("read the folder of pictures: %w", err)
	}
	type found struct {
		kept
		used time.Time
	}
	var all []found
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), unfinished) {
			if err := os.Remove(filepath.Join(folder, e.Name())); err != nil && !errors.Is(err, fs.ErrNotExist) {
				return nil, fmt.Errorf("remove an unfinished picture: %w", err)
			}
			continue
		}
		info, err := e.Info()
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("read the folder of pictures: %w", err)
		}
		all = append(all, found{kept{e.Name(), info.Size()}, info.ModTime()})
	}
	slices.SortFunc(all, func(a, b found) int { return cmp.Compare(a.used.UnixNano(), b.used.UnixNano()) })
	for _, f := range all {
		d.note(f.name, f.size)
	}
	return d, d.shrink()
}

// nameOf is the name of a key's file.
func nameOf(key string) string {
	sum := sha256.Sum256([]byte(key))
	return hex.EncodeToString(sum[:])
}

// get returns a file; ok is false when there is none.
func (d *disk) get(key string) (body []byte, ok bool, err error) {
	name := nameOf(key)
	d.mu.Lock()
	e, known := d.files[name]
	if known {
		d.order.MoveToBack(e)
	}
	d.mu.Unlock()
	if !known {
		return nil, false, nil
	}
	body, err = os.ReadFile(filepath.Join(d.folder, name))
	if errors.Is(err, fs.ErrNotExist) {
		d.forget(name)
		return nil, false, nil
	}
	if err != nil {
		return nil, false, fmt.Errorf("read a kept picture: %w", err)
	}
	return body, true, nil
}

// put keeps a file. A reader sees all of it or none.
func (d *disk) put(key string, body []byte) error {
	name := nameOf(key)
	f, err := os.CreateTemp(d.folder, unfinished+"*")
	if err != nil {
		return fmt.Errorf("keep a picture: %w", err)
	}
	_, err = f.Write(body)
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(f.Name(), filepath.Join(d.folder, name))
	}
	if err != nil {
		return fmt.Errorf("keep a picture: %w", errors.Join(err, os.Remove(f.Name())))
	}
	d.note(name, int64(len(body)))
	return d.shrink()
}

func (d *disk) note(name string, size int64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if e, ok := d.files[name]; ok {
		d.bytes -= d.order.Remove(e).(*kept).size //nolint:forcetypeassert // only these are in the list
	}
	d.files[name] = d.order.PushBack(&kept{name, size})
	d.bytes += size
}

func (d *disk) forget(name string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if e, ok := d.files[name]; ok {
		d.bytes -= d.order.Remove(e).(*kept).size //nolint:forcetypeassert // only these are in the list
		delete(d.files, name)
	}
}

// shrink removes files until what is left is within the bound.
func (d *disk) shrink() error {
	for {
		d.mu.Lock()
		oldest := d.order.Front()
		if d.bytes <= d.most || oldest == nil {
			d.mu.Unlock()
			return nil
		}
		name := oldest.Value.(*kept).name //nolint:forcetypeassert // only these are in the list
		d.mu.Unlock()
		d.forget(name)
		if err := os.Remove(filepath.Join(d.folder, name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("remove a kept picture: %w", err)
		}
	}
}
