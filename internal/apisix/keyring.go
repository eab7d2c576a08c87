package apisix

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"encoding/base64"
	"errors"
	"strings"
)

// This file is how APISIX keeps private keys (data_encryption.keyring): AES in CBC mode
// with PKCS #7 padding, the key being the initialisation vector as well, in base64. So
// equal texts look equal, and nobody is told of a change: it hides keys from those who
// read a storage, and no more.

// A Keyring encrypts and decrypts the private keys in documents. The zero Keyring does
// nothing.
type Keyring struct {
	// A function is the one thing that no verb of fmt looks into.
	keys func() []ringKey
}

type ringKey struct {
	block cipher.Block
	iv    []byte
}

// NewKeyring returns the Keyring of some keys of 16 or 32 bytes. The first encrypts; all
// decrypt.
func NewKeyring(keys ...string) (Keyring, error) {
	ring := make([]ringKey, len(keys))
	for i, key := range keys {
		if len(key) != 16 && len(key) != 32 {
			return Keyring{}, errors.New("must be 16 or 32 bytes long")
		}
		block, err := aes.NewCipher([]byte(key))
		if err != nil {
			return Keyring{}, err
		}
		ring[i] = ringKey{block, []byte(key[:aes.BlockSize])}
	}
	if len(ring) == 0 {
		return Keyring{}, nil
	}
	return Keyring{func() []ringKey { return ring }}, nil
}

// Encrypt returns a document in which private keys are encrypted. Whatever does not begin
// like PEM is left as it is, as in APISIX. doc is not changed.
func (k Keyring) Encrypt(kind Kind, doc map[string]any) map[string]any {
	if k.keys == nil {
		return doc
	}
	first := k.keys()[0]
	return mapKeys(kind, doc, func(text string) string {
		if !strings.HasPrefix(text, "---") {
			return text
		}
		n := aes.BlockSize - len(text)%aes.BlockSize
		data := append([]byte(text), bytes.Repeat([]byte{byte(n)}, n)...)
		cipher.NewCBCEncrypter(first.block, first.iv).CryptBlocks(data, data)
		return base64.StdEncoding.EncodeToString(data)
	})
}

// Decrypt returns a document in which the private keys that one of the Keyring's keys has
// encrypted are decrypted. Others are left as they are. doc is not changed.
func (k Keyring) Decrypt(kind Kind, doc map[string]any) map[string]any {
	if k.keys == nil {
		return doc
	}
	return mapKeys(kind, doc, func(text string) string {
		data, err := base64.StdEncoding.DecodeString(text)
		if err != nil || len(data) == 0 || len(data)%aes.BlockSize != 0 {
			return text
		}
		for _, key := range k.keys() {
			plain := make([]byte, len(data))
			cipher.NewCBCDecrypter(key.block, key.iv).CryptBlocks(plain, data)
			// Another key leaves noise, which may look padded, but not like PEM.
			n := int(plain[len(plain)-1])
			if n == 0 || n > aes.BlockSize || !bytes.HasPrefix(plain, []byte("---")) {
				continue
			}
			if body, ok := bytes.CutSuffix(plain, bytes.Repeat([]byte{byte(n)}, n)); ok {
				return string(body)
			}
		}
		return text
	})
}

// mapKeys returns a document with other private keys. What is not a key is shared.
func mapKeys(kind Kind, doc map[string]any, f func(string) string) map[string]any {
	switch kind {
	case SSLs:
		doc = mapString(doc, "key", f)
		keys, ok := doc["keys"].([]any)
		if !ok || len(keys) == 0 {
			return doc
		}
		changed := append([]any(nil), keys...)
		for i, v := range keys {
			if text, ok := v.(string); ok {
				changed[i] = f(text)
			}
		}
		doc = shallow(doc)
		doc["keys"] = changed
		return doc
	case Upstreams:
		tls, ok := doc["tls"].(map[string]any)
		if !ok {
			return doc
		}
		doc = shallow(doc)
		doc["tls"] = mapString(tls, "client_key", f)
		return doc
	}
	up, ok := doc["upstream"].(map[string]any)
	if !ok {
		return doc
	}
	doc = shallow(doc)
	doc["upstream"] = mapKeys(Upstreams, up, f)
	return doc
}

func mapString(doc map[string]any, property string, f func(string) string) map[string]any {
	text, ok := doc[property].(string)
	if !ok {
		return doc
	}
	doc = shallow(doc)
	doc[property] = f(text)
	return doc
}
