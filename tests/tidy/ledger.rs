//! Every atomic, lock and shared cell of the core crates has a row in the ledger, which says its protocol and its model.
//!
//! The ledger is the table `| where | what | protocol | model |` in loom-tests/README.md, under the heading [`HEADING`].
//! A row names what it speaks of as `Type.field`, or by the name of the tuple struct, static or variable that holds it.
//! So a new one can't come without a protocol, and a row can't outlive what it is about.

use crate::rust;
use crate::tree::{self, File};
use crate::{assert_caught, assert_clean};
use std::collections::BTreeSet;

const LEDGER: &str = "loom-tests/README.md";
const HEADING: &str = "## The ledger";

/// What threads can share. An atomic is also any name that begins with `Atomic` and goes on with one of [`WIDTHS`].
const KINDS: [&str; 14] = [
    "Atomic",
    "Mutex",
    "FairMutex",
    "ReentrantMutex",
    "RwLock",
    "Condvar",
    "Barrier",
    "Once",
    "OnceLock",
    "LazyLock",
    "SegQueue",
    "ArrayQueue",
    "UnsafeCell",
    "SyncUnsafeCell",
];

/// `Count` is this repository's name for an atomic that orders nothing.
const WIDTHS: [&str; 13] = [
    "Bool", "U8", "U16", "U32", "U64", "Usize", "I8", "I16", "I32", "I64", "Isize", "Ptr", "Count",
];

/// Where the primitives themselves come from, and the parts that exist for models and tests only.
const EXEMPT: [&str; 3] = ["/sync.rs", "/modelling.rs", "/testing.rs"];

/// A row of the ledger.
struct Row<'a> {
    path: &'a str,
    names: Vec<&'a str>,
    protocol: &'a str,
    model: &'a str,
}

fn findings(files: &[File], ledger: &str) -> Vec<String> {
    let rows: Vec<Row> = rows(ledger).collect();
    let declared: BTreeSet<(&str, String)> = files
        .iter()
        .filter(|file| file.is_core() && !EXEMPT.iter().any(|end| file.path.ends_with(end)))
        .flat_map(|file| declared(&file.text).map(|name| (file.path.as_str(), name)))
        .collect();
    let listed: BTreeSet<(&str, String)> = rows
        .iter()
        .flat_map(|row| row.names.iter().map(|name| (row.path, (*name).to_owned())))
        .collect();
    let unlisted = declared.difference(&listed).map(|(path, name)| {
        format!("{path}: `{name}` is shared by threads and has no row in {LEDGER}: say its protocol and its model")
    });
    let stale = listed.difference(&declared).map(|(path, name)| {
        format!("{LEDGER}: there is no `{name}` in {path}: mend or remove its row")
    });
    let unmodelled = files
        .iter()
        .filter(|file| is_unmentioned_model(file, ledger));
    unlisted
        .chain(stale)
        .chain(rows.iter().filter_map(Row::gap))
        .chain(unmodelled.map(|file| format!("{LEDGER}: does not mention the model {}", file.path)))
        .collect()
}

impl Row<'_> {
    /// What the row leaves open.
    fn gap(&self) -> Option<String> {
        let missing = if self.names.is_empty() {
            "names nothing in backticks"
        } else if self.protocol.is_empty() {
            "has no protocol"
        } else if !(self.model.starts_with('`') || self.model.starts_with("none")) {
            "has neither a model nor the word none"
        } else {
            return None;
        };
        Some(format!("{LEDGER}: a row of {} {missing}", self.path))
    }
}

/// The rows of the table under the heading.
fn rows(ledger: &str) -> impl Iterator<Item = Row<'_>> {
    let section = ledger.lines().skip_while(|line| *line != HEADING).skip(1);
    section
        .take_while(|line| !line.starts_with('#'))
        .filter_map(|line| {
            let cells: Vec<&str> = line.split('|').map(str::trim).collect();
            let [_, place, what, protocol, model, _] = cells[..] else {
                return None;
            };
            let path = place.strip_prefix('`')?.strip_suffix('`')?;
            let names = what.split('`').skip(1).step_by(2).collect();
            Some(Row {
                path,
                names,
                protocol,
                model,
            })
        })
}

fn is_unmentioned_model(file: &File, ledger: &str) -> bool {
    file.path.starts_with("loom-tests/tests/") && !ledger.contains(&file.path)
}

/// The names of what `source` declares that threads can share.
fn declared(source: &str) -> impl Iterator<Item = String> {
    let code: Vec<String> = rust::lines(source)
        .into_iter()
        .map(|line| line.code)
        .collect();
    let code = without_models_and_tests(&code.join("\n"));
    let mut names = Vec::new();
    for keyword in [
        "struct", "enum", "union", "static", "const", "type", "let", "use",
    ] {
        let places = rust::words(&code, keyword).filter(|&at| !code[..at].ends_with('\''));
        for at in places {
            let rest = &code[at + keyword.len()..];
            match keyword {
                "struct" | "enum" | "union" => names.extend(of_type(rest)),
                "use" => names.extend(of_import(rest)),
                "const" => names.extend(of_constant(rest)),
                _ => names.extend(of_statement(rest)),
            }
        }
    }
    names.into_iter()
}

/// Of `Name<…> { field: Type, … }`, the fields that are shared; of any other type that holds something shared, also as what a
/// parameter is unless somebody says otherwise, its name.
fn of_type(rest: &str) -> Vec<String> {
    let Some((name, generics, body)) = name_and_body(rest) else {
        return Vec::new();
    };
    let inside = body.trim_start_matches('{');
    let fields = parts(inside).filter_map(|field| {
        let colon = single_colon(field)?;
        let field_name = last_name(&field[..colon])?;
        shares(&field[colon..]).then(|| format!("{name}.{field_name}"))
    });
    let mut names: Vec<String> = fields.collect();
    if (names.is_empty() && shares(body)) || parts(generics).filter_map(default).any(shares) {
        names.push(name.to_owned());
    }
    names
}

/// The name of a type, its parameters, and what stands in its braces or parentheses, these included.
fn name_and_body(rest: &str) -> Option<(&str, &str, &str)> {
    let name = first_name(rest)?;
    let behind = &rest[rest.find(name)? + name.len()..];
    let after = after_generics(behind);
    let generics = behind[..behind.len() - after.len()].trim_start_matches('<');
    let ends: &[char] = if after.trim_start().starts_with('(') {
        &['(']
    } else {
        &['{', ';'] // after a `where`, perhaps
    };
    let body = &after[after.find(ends)?..];
    Some((name, generics, &body[..span(body)]))
}

/// What follows the `=` of a parameter that is in no bracket.
fn default(parameter: &str) -> Option<&str> {
    let mut depth = 0;
    let equals = parameter.find(|c| {
        depth += i32::from("{([<".contains(c)) - i32::from("})]>".contains(c));
        c == '=' && depth == 0
    })?;
    Some(&parameter[equals..])
}

/// What follows a type's name, without its `<…>`. The `>` of an arrow closes nothing.
fn after_generics(rest: &str) -> &str {
    let mut depth = 0;
    let mut before = ' ';
    for (at, c) in rest.char_indices() {
        depth += i32::from(c == '<') - i32::from(c == '>' && before != '-');
        if depth == 0 {
            return rest[at..].trim_start_matches('>');
        }
        before = c;
    }
    ""
}

/// Of `NAME: Type = …;` or `name = …;`, up to a block that has statements and fields of its own.
fn of_statement(rest: &str) -> Option<String> {
    let end = rest.find([';', '{'])?;
    let name = first_name(rest)?;
    shares(&rest[..end]).then(|| name.to_owned())
}

/// Of `NAME: Type = …;`, for each use of it makes another. A parameter looks the same up to its `>`, so what follows that is not looked
/// at. A name with a type stands neither behind `*const` nor where a `const fn` begins.
fn of_constant(rest: &str) -> Option<String> {
    let name = first_name(rest)?;
    let kind = rest.trim_start().strip_prefix(name)?.strip_prefix(':')?;
    let end = kind.find([';', '{', '=', '>'])?;
    shares(&kind[..end]).then(|| name.to_owned())
}

/// Of `use path::Kind as Name`, each name that doesn't show any more what it stands for.
fn of_import(rest: &str) -> Vec<String> {
    let end = rest.find(';').unwrap_or(rest.len());
    let names: Vec<&str> = rest[..end]
        .split(|c: char| !is_name(c))
        .filter(|name| !name.is_empty())
        .collect();
    let renamed = names
        .windows(3)
        .filter(|three| three[1] == "as" && shares(three[0]) && !shares(three[2]));
    renamed.map(|three| three[2].to_owned()).collect()
}

fn shares(code: &str) -> bool {
    let names = code.split(|c: char| !is_name(c));
    let is_atomic = |name: &str| {
        name.strip_prefix("Atomic")
            .is_some_and(|width| WIDTHS.contains(&width))
    };
    names
        .into_iter()
        .any(|name| KINDS.contains(&name) || is_atomic(name))
}

/// The code with the items blanked that only models or tests have.
fn without_models_and_tests(code: &str) -> String {
    let mut left = code.to_owned();
    let attributes: Vec<usize> = code.match_indices("#[cfg(").map(|(at, _)| at).collect();
    for at in attributes {
        let attribute = &code[at..at + span(&code[at + 1..]) + 1];
        let condition = attribute
            .replace("not(any(loom, shuttle))", "")
            .replace("not(loom)", "")
            .replace("not(test)", "");
        if ["loom", "shuttle", "test"]
            .iter()
            .any(|word| rust::words(&condition, word).next().is_some())
        {
            let item = &code[at + attribute.len()..];
            let end = item
                .find([';', '{'])
                .map_or(item.len(), |open| open + span(&item[open..]));
            let item = at..at + attribute.len() + end;
            let blank = code[item.clone()].replace(|c| c != '\n', " ");
            left.replace_range(item, &blank);
        }
    }
    left
}

/// How long the group is that `code` begins with: up to its closing bracket, or the one character that opens none.
fn span(code: &str) -> usize {
    let mut depth = 0;
    for (at, c) in code.char_indices() {
        depth += i32::from("{([".contains(c)) - i32::from("})]".contains(c));
        if depth == 0 {
            return at + c.len_utf8();
        }
    }
    code.len()
}

/// The parts between the commas that are in no bracket.
fn parts(body: &str) -> impl Iterator<Item = &str> {
    let mut depth = 0;
    body.split(move |c| {
        depth += i32::from("{([<".contains(c)) - i32::from("})]>".contains(c));
        c == ',' && depth == 0
    })
}

/// Where the `:` between a field's name and its type is.
fn single_colon(field: &str) -> Option<usize> {
    let bytes = field.as_bytes();
    (0..bytes.len()).find(|&at| {
        bytes[at] == b':'
            && bytes.get(at + 1) != Some(&b':')
            && at.checked_sub(1).map(|at| bytes[at]) != Some(b':')
    })
}

fn first_name(code: &str) -> Option<&str> {
    let mut names = code
        .split(|c: char| !is_name(c))
        .filter(|name| !name.is_empty());
    names.find(|name| *name != "mut")
}

fn last_name(code: &str) -> Option<&str> {
    code.rsplit(|c: char| !is_name(c))
        .find(|name| !name.is_empty())
}

fn is_name(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

#[test]
fn everything_that_threads_share_is_in_the_ledger() {
    assert_clean(&findings(&tree::files(), &tree::text(LEDGER)));
}

/// A ledger with these rows.
fn ledger(rows: &str) -> String {
    format!(
        "# Models\n\n{HEADING}\n\n| where | what | protocol | model |\n|---|---|---|---|\n{rows}\n\n## Next\n\n| `src/z.rs` | `Z.z` | of no ledger | none |\n"
    )
}

fn found(code: &str, rows: &str) -> Vec<String> {
    findings(&[File::sample("src/a.rs", code)], &ledger(rows))
}

#[test]
fn what_is_shared_and_unlisted_is_caught() {
    for (code, name) in [
        ("struct A {\n    pub(crate) word: AtomicU32,\n}", "`A.word`"),
        (
            "struct A<T: Fn(u8)> {\n    a: u8,\n    b: CachePadded<Mutex<T>>,\n}",
            "`A.b`",
        ),
        (
            "struct A<T> where T: Send {\n    cell: std::cell::UnsafeCell<T>,\n}",
            "`A.cell`",
        ),
        ("pub struct Count(pub AtomicCount);", "`Count`"),
        ("enum A { B(Mutex<u8>) }", "`A`"),
        (
            "fn f() { static ON: OnceLock<u8> = OnceLock::new(); }",
            "`ON`",
        ),
        (
            "fn f() {\n    let mut place = Arc::new(Mutex::new(1));\n}",
            "`place`",
        ),
        ("type Shared = Arc<RwLock<u8>>;", "`Shared`"),
        ("struct A { lock: parking_lot::FairMutex<u8> }", "`A.lock`"),
        (
            "struct A { word: std::sync::atomic::Atomic<u8> }",
            "`A.word`",
        ),
        ("use std::sync::{Arc, atomic::AtomicU8 as Word};", "`Word`"),
        (
            "const ROW: [AtomicU8; 4] = [const { AtomicU8::new(0) }; 4];",
            "`ROW`",
        ),
        ("struct A<T: Is<B = u8> = Mutex<u8>>(T);", "`A`"),
        (
            "#[cfg(not(any(loom, shuttle)))]\nmod real { pub struct Queue<T>(SegQueue<T>); }",
            "`Queue`",
        ),
    ] {
        assert_caught(&found(code, ""), name);
        let rows = format!("| `src/a.rs` | {name} | plain | none |");
        assert_clean(&found(code, &rows));
        assert_caught(&found("", &rows), name);
        assert_caught(&found(code, &rows.replace("a.rs", "b.rs"))[..1], "src/a.rs");
    }
}

#[test]
fn what_is_not_shared_by_the_code_that_runs_is_no_finding() {
    for code in [
        "use crate::sync::{self as kit, AtomicU64 as AtomicCount};",
        "use std::sync::{Mutex, AtomicU8};\nfn f(a: &Mutex<u8>) -> MutexGuard<'_, u8> { a.lock() }",
        "struct A<'a> { guard: MutexGuard<'a, u8>, state: AtomicReadiness, name: &'static str }",
        "impl A { fn new() -> A { A { word: AtomicU8::new(0) } } }",
        "impl A { const fn new(lock: Mutex<u8>) -> *const Mutex<u8> { &raw const lock } }",
        "struct A<T: Iterator<Item = Mutex<u8>>, const N: usize>([T; N]);",
        "fn f<const N: usize>(words: &[AtomicU8; N]) {}",
        "// struct A { word: AtomicU32 }",
        "#[cfg(loom)]\nmod modelled {\n    struct Queue { len: AtomicUsize }\n}",
        "#[cfg(any(test, loom))]\nstruct A(Mutex<u8>);",
        "#[cfg(all(test, not(loom)))]\nmod tests { static N: AtomicUsize = AtomicUsize::new(0); }",
    ] {
        assert_clean(&found(code, ""));
    }
    let sync = File::sample("reactor/src/sync.rs", "pub struct A(AtomicU8);");
    assert_clean(&findings(&[sync], &ledger("")));
}

#[test]
fn a_row_that_leaves_something_open_is_caught() {
    let code = "struct A { word: AtomicU8 }";
    for (row, about) in [
        ("| `src/a.rs` | `A.word` | | none |", "has no protocol"),
        ("| `src/a.rs` | `A.word` | plain | |", "neither a model"),
        (
            "| `src/a.rs` | `A.word` | plain | none |\n| `src/a.rs` | the word | plain | none |",
            "names nothing",
        ),
    ] {
        assert_caught(&found(code, row), about);
    }
}

#[test]
fn a_model_that_the_ledger_does_not_mention_is_caught() {
    let model = || File::sample("loom-tests/tests/ring.rs", "//! The ring.");
    assert_caught(
        &findings(&[model()], &ledger("")),
        "does not mention the model",
    );
    let mentioned = ledger("").replace("## Next", "## Next: `loom-tests/tests/ring.rs`");
    assert_clean(&findings(&[model()], &mentioned));
}
