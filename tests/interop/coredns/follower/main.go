// A collector that connects to a server that waits for collectors, and reads the frames with the reader of
// golang-dnstap. It connects again whenever the stream ends. It writes each frame to a file: a length of four bytes, and
// the frame.
//
//	follower unix|tcp ADDRESS FILE
package main

import (
	"encoding/binary"
	"errors"
	"io"
	"log"
	"net"
	"os"
	"time"

	dnstap "github.com/dnstap/golang-dnstap"
)

func follow(network, address string, file io.Writer) error {
	conn, err := net.Dial(network, address)
	if err != nil {
		return err
	}
	defer conn.Close()
	reader, err := dnstap.NewReader(conn, &dnstap.ReaderOptions{Bidirectional: true, Timeout: 5 * time.Second})
	if err != nil {
		return err
	}
	log.Print("the stream has begun")
	frame := make([]byte, 4+dnstap.MaxPayloadSize)
	for {
		length, err := reader.ReadFrame(frame[4:])
		if errors.Is(err, io.EOF) {
			log.Print("the stream has ended")
			return nil
		}
		if err != nil {
			return err
		}
		binary.BigEndian.PutUint32(frame, uint32(length))
		if _, err := file.Write(frame[:4+length]); err != nil {
			log.Fatal(err)
		}
	}
}

func main() {
	file, err := os.Create(os.Args[3])
	if err != nil {
		log.Fatal(err)
	}
	for {
		if err := follow(os.Args[1], os.Args[2], file); err != nil {
			log.Print(err)
		}
		time.Sleep(20 * time.Millisecond)
	}
}
