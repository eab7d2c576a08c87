// Package apisix reads the documents of Apache APISIX's Admin API: it turns the
// JSON object of a route, a service, an ssl object or an upstream into the Configs of this
// module, one way. The document itself, not the Config, is what is stored and what
// answers GET.
//
// [Validate] refuses what APISIX refuses, in APISIX's words: clients and people
// search for them. [Decode] validates, and then makes an [Object] of the document.
// What APISIX would do and this gateway does not do is refused by name, never
// passed over.
//
// What stands in a document for something else is put in before Decode: [Restore] puts
// a stored private key for its placeholder, [WithClientCertificate] an ssl object for its
// id, [Resolve] a secret for a reference. [Patch] and [PatchPath] change a document,
// [Redact] makes one that may be shown.
//
// Documents are what Decode of internal/cjson gives. They are never changed here.
//
// # What a document means
//
// It means what it means in APISIX, also where that is not what one would choose:
// an upstream whose tls.verify is absent is not verified. Of that the package warns that
// a Config is for, and [InDocument] says it of the document; [Object.Warnings] are about what
// has no effect, and so comes into no Config.
//
// # Messages
//
// The texts are those of the schema library of APISIX for one fault at a time. It
// stops at a fault of its own choice; here all faults of the properties are named,
// sorted, with "; " between them. What concerns a document as a whole (a missing
// property that has an alternative) is only looked at where its properties are in
// order.
//
// No error repeats a private key.
package apisix
