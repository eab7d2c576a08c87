package docs

import (
	"fmt"
	"go/ast"
	"go/doc/comment"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

const root = "../.."

// A snippet is code that stands in a text.
type snippet struct{ from, code string }

// An api is what a package exports: for each name the number of results of a function, or -1.
// A field or method is there as "Type.Name".
type api map[string]int

// A link is a name in square brackets in a comment: it should lead somewhere.
type link struct{ from, pkg, name string }

func TestSnippets(t *testing.T) {
	packages, snippets, _ := readTree(t)
	readme, err := os.ReadFile(root + "/README.md")
	require.NoError(t, err)
	for _, block := range regexp.MustCompile("(?s)```go\n(.*?)```").FindAllStringSubmatch(string(readme), -1) {
		snippets = append(snippets, snippet{"README.md", block[1]})
	}
	uses := 0
	for _, s := range snippets {
		file := parse(s.code)
		if file == nil {
			continue // a text that is indented: a table, a command, JSON
		}
		n, faults := check(file, packages)
		uses += n
		for _, fault := range faults {
			t.Errorf("%s: %s in\n%s", s.from, fault, s.code)
		}
	}
	require.Greater(t, uses, 40, "uses of this module's packages")
}

func TestLinks(t *testing.T) {
	packages, _, links := readTree(t)
	for _, l := range links {
		if _, ok := packages[l.pkg][l.name]; !ok {
			t.Errorf("%s: [%s.%s] leads nowhere", l.from, l.pkg, l.name)
		}
	}
	require.Greater(t, len(links), 200)
}

// The check itself finds what it is for.
func TestCheck(t *testing.T) {
	packages := map[string]api{"ssl": {"NewStore": 2, "Config": -1, "Config.Client": -1}}
	for code, want := range map[string][]string{
		"store, err := ssl.NewStore(nil)": nil,
		"store := ssl.NewStore(nil)":      {"ssl.NewStore has 2 results, not 1"},
		"_ = ssl.Config{Client: x}":       nil,
		"_ = ssl.Config{CA: x}":           {"ssl.Config has no field CA"},
		"_ = ssl.Conf{}":                  {"there is no ssl.Conf"},
		"other.NewStore()":                nil,
		"func f() { ssl.Gone() }":         {"there is no ssl.Gone"},
	} {
		_, faults := check(parse(code), packages)
		require.Equal(t, want, faults, code)
	}
	require.Nil(t, parse("$ curl -k https://a.test"))
}

// readTree returns what the packages of the repository export, by their names, and the code
// and the links in their comments.
func readTree(t *testing.T) (packages map[string]api, snippets []snippet, links []link) {
	packages = map[string]api{}
	type text struct{ path, pkg, text string }
	var texts []text
	require.NoError(t, filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && (d.Name() == "testdata" || d.Name() == ".git"):
			return fs.SkipDir
		case d.IsDir() || !strings.HasSuffix(path, ".go"):
			return nil
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.ParseComments|parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		pkg := file.Name.Name
		if strings.HasSuffix(pkg, "_test") || pkg == "main" {
			pkg = filepath.Dir(path) // nothing else has its names
		}
		if packages[pkg] == nil {
			packages[pkg] = api{}
		}
		export(file, packages[pkg])
		for _, group := range file.Comments {
			texts = append(texts, text{path, pkg, group.Text()})
		}
		return nil
	}))
	p := &comment.Parser{
		LookupPackage: func(name string) (string, bool) { return name, packages[name] != nil },
		LookupSym:     func(string, string) bool { return true },
	}
	for _, c := range texts {
		doc := p.Parse(c.text)
		for _, block := range doc.Content {
			if code, ok := block.(*comment.Code); ok {
				snippets = append(snippets, snippet{c.path, code.Text})
			}
		}
		for _, l := range docLinks(doc.Content) {
			name := l.Name
			if l.Recv != "" {
				name = l.Recv + "." + name
			}
			switch pkg := l.ImportPath; {
			case name == "":
			case pkg == "":
				links = append(links, link{c.path, c.pkg, name})
			case packages[pkg] != nil:
				links = append(links, link{c.path, pkg, name})
			}
		}
	}
	return packages, snippets, links
}

// docLinks returns the links of the blocks of a comment.
func docLinks(blocks []comment.Block) (links []*comment.DocLink) {
	inText := func(text []comment.Text) {
		for _, part := range text {
			if l, ok := part.(*comment.DocLink); ok {
				links = append(links, l)
			}
		}
	}
	for _, block := range blocks {
		switch b := block.(type) {
		case *comment.Paragraph:
			inText(b.Text)
		case *comment.Heading:
			inText(b.Text)
		case *comment.List:
			for _, item := range b.Items {
				links = append(links, docLinks(item.Content)...)
			}
		}
	}
	return links
}

// export adds what a file declares.
func export(file *ast.File, to api) {
	for _, decl := range file.Decls {
		switch d := decl.(type) {
		case *ast.FuncDecl:
			name := d.Name.Name
			if d.Recv != nil {
				name = named(d.Recv.List[0].Type) + "." + name
			}
			to[name] = d.Type.Results.NumFields()
		case *ast.GenDecl:
			for _, spec := range d.Specs {
				switch s := spec.(type) {
				case *ast.TypeSpec:
					to[s.Name.Name] = -1
					var members *ast.FieldList
					switch t := s.Type.(type) {
					case *ast.StructType:
						members = t.Fields
					case *ast.InterfaceType:
						members = t.Methods
					}
					if members != nil {
						for _, field := range members.List {
							for _, name := range field.Names {
								to[s.Name.Name+"."+name.Name] = -1
							}
							if len(field.Names) == 0 {
								to[s.Name.Name+"."+named(field.Type)] = -1
							}
						}
					}
				case *ast.ValueSpec:
					for _, name := range s.Names {
						to[name.Name] = -1
					}
				}
			}
		}
	}
}

// named is the name of a type, or of what a pointer to it or an instance of it is made of.
func named(typ ast.Expr) string {
	switch t := typ.(type) {
	case *ast.StarExpr:
		return named(t.X)
	case *ast.IndexExpr:
		return named(t.X)
	case *ast.IndexListExpr:
		return named(t.X)
	case *ast.SelectorExpr:
		return t.Sel.Name
	case *ast.Ident:
		return t.Name
	}
	return ""
}

// parse reads a snippet as declarations or as statements. It returns nil for what is neither.
func parse(code string) *ast.File {
	for _, whole := range []string{code, "package p\n" + code, "package p\nfunc _() {\n" + code + "\n}"} {
		if file, err := parser.ParseFile(token.NewFileSet(), "", whole, parser.SkipObjectResolution); err == nil {
			return file
		}
	}
	return nil
}

// check returns how many names of the packages a snippet uses, and what is wrong with them.
func check(file *ast.File, packages map[string]api) (uses int, faults []string) {
	exported := func(e ast.Expr) (name string, results int) {
		if s, ok := e.(*ast.SelectorExpr); ok {
			if x, ok := s.X.(*ast.Ident); ok && packages[x.Name] != nil && s.Sel.IsExported() {
				name = x.Name + "." + s.Sel.Name
				if results, ok = packages[x.Name][s.Sel.Name]; !ok {
					results = -2
				}
			}
		}
		return name, results
	}
	ast.Inspect(file, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.SelectorExpr:
			if name, results := exported(n); name != "" {
				uses++
				if results == -2 {
					faults = append(faults, "there is no "+name)
				}
			}
		case *ast.CompositeLit:
			name, results := exported(n.Type)
			of, typ, _ := strings.Cut(name, ".")
			for _, e := range n.Elts {
				if kv, ok := e.(*ast.KeyValueExpr); ok && name != "" && results != -2 {
					field := fmt.Sprint(kv.Key)
					if _, ok := packages[of][typ+"."+field]; !ok {
						faults = append(faults, name+" has no field "+field)
					}
				}
			}
		case *ast.AssignStmt:
			if len(n.Rhs) != 1 {
				break
			}
			if call, ok := n.Rhs[0].(*ast.CallExpr); ok {
				if name, results := exported(call.Fun); name != "" && results >= 0 && results != len(n.Lhs) {
					faults = append(faults, fmt.Sprintf("%s has %d results, not %d", name, results, len(n.Lhs)))
				}
			}
		}
		return true
	})
	return uses, faults
}
