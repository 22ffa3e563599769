//! Code, comments and strings of Rust told apart, line by line: enough of a lexer for rules that look at lines.

/// One line of a source file.
#[derive(Debug, Default, Clone, PartialEq)]
pub(crate) struct Line {
    /// The code, with comments left out and the insides of strings blanked.
    pub(crate) code: String,
    /// The text of the comments, with their markers (`//`, `///`, `/*`).
    pub(crate) comment: String,
}

impl Line {
    pub(crate) fn is_blank(&self) -> bool {
        self.code.trim().is_empty() && self.comment.is_empty()
    }

    /// Nothing but a comment.
    pub(crate) fn is_comment(&self) -> bool {
        self.code.trim().is_empty() && !self.comment.is_empty()
    }

    /// Nothing but an attribute that opens and closes on this line.
    pub(crate) fn is_attribute(&self) -> bool {
        let code = self.code.trim();
        code.starts_with("#[") && code.ends_with(']')
    }
}

/// Splits `source` into lines of code and comment.
pub(crate) fn lines(source: &str) -> Vec<Line> {
    let mut lexer = Lexer {
        rest: source,
        lines: vec![Line::default()],
    };
    while !lexer.rest.is_empty() {
        lexer.step();
    }
    lexer.lines
}

/// The lines before the file's unit tests (`#[cfg(test)]` and a `mod`), which end a file by habit.
pub(crate) fn without_unit_tests(lines: &[Line]) -> &[Line] {
    let tests = lines.windows(2).position(|pair| {
        pair[0].code.trim().starts_with("#[cfg(") && pair[0].code.contains("test") && {
            let next = pair[1].code.trim();
            next.starts_with("mod ") && next.ends_with('{')
        }
    });
    &lines[..tests.unwrap_or(lines.len())]
}

/// Where `word` stands alone in `code`, not as a part of a longer name.
pub(crate) fn words<'a>(code: &'a str, word: &'a str) -> impl Iterator<Item = usize> + 'a {
    let is_name = |c: char| c.is_alphanumeric() || c == '_';
    code.match_indices(word)
        .map(|(at, _)| at)
        .filter(move |&at| {
            let before = code[..at].chars().next_back();
            let after = code[at + word.len()..].chars().next();
            !before.is_some_and(is_name) && !after.is_some_and(is_name)
        })
}

struct Lexer<'a> {
    rest: &'a str,
    lines: Vec<Line>,
}

impl Lexer<'_> {
    fn step(&mut self) {
        if self.rest.starts_with("//") {
            self.comment(self.rest.find('\n').unwrap_or(self.rest.len()));
        } else if self.rest.starts_with("/*") {
            self.comment(block_comment_len(self.rest));
        } else if let Some(len) = raw_string_len(self.rest) {
            self.string(len);
        } else if self.rest.starts_with('"') {
            self.string(quoted_len(self.rest, '"'));
        } else if let Some(len) = char_len(self.rest) {
            self.string(len);
        } else {
            self.code();
        }
    }

    /// Takes a whole name at once, so that the `r` of `for"` is never taken for the start of a raw string.
    fn code(&mut self) {
        let name = self
            .rest
            .find(|c: char| !(c.is_alphanumeric() || c == '_'))
            .unwrap_or(self.rest.len());
        let len = if name > 0 {
            name
        } else {
            self.rest.chars().next().map_or(1, char::len_utf8)
        };
        for c in self.take(len).chars() {
            match c {
                '\n' => self.lines.push(Line::default()),
                c => self.line().code.push(c),
            }
        }
    }

    fn comment(&mut self, len: usize) {
        for (index, part) in self.take(len).split('\n').enumerate() {
            if index > 0 {
                self.lines.push(Line::default());
            }
            self.line().comment.push_str(part);
        }
    }

    /// Keeps the quotes and the line breaks of a string.
    fn string(&mut self, len: usize) {
        self.line().code.push('"');
        for _ in self.take(len).matches('\n') {
            self.lines.push(Line::default());
        }
        self.line().code.push('"');
    }

    fn take(&mut self, len: usize) -> String {
        let (taken, rest) = self.rest.split_at(len);
        self.rest = rest;
        taken.to_owned()
    }

    fn line(&mut self) -> &mut Line {
        self.lines.last_mut().expect("there is always a line")
    }
}

/// The length of a block comment at the start of `text`; block comments nest.
fn block_comment_len(text: &str) -> usize {
    let (mut at, mut depth) = (0, 0);
    while let Some(pair) = text.as_bytes().get(at..at + 2) {
        match pair {
            b"/*" => depth += 1,
            b"*/" => depth -= 1,
            _ => {
                at += 1;
                continue;
            }
        }
        at += 2;
        if depth == 0 {
            return at;
        }
    }
    text.len()
}

/// The length of a raw string (`r"…"`, `br#"…"#`) at the start of `text`.
fn raw_string_len(text: &str) -> Option<usize> {
    let prefix = ["r", "br", "cr"].iter().find(|prefix| {
        let after = text.strip_prefix(**prefix).unwrap_or_default();
        after.trim_start_matches('#').starts_with('"')
    })?;
    let hashes = text[prefix.len()..]
        .bytes()
        .take_while(|byte| *byte == b'#')
        .count();
    let opening = prefix.len() + hashes + 1;
    let closing = format!("\"{}", "#".repeat(hashes));
    Some(
        text[opening..]
            .find(&closing)
            .map_or(text.len(), |at| opening + at + closing.len()),
    )
}

/// The length of a character literal at the start of `text`; a lifetime is none.
fn char_len(text: &str) -> Option<usize> {
    let mut chars = text.strip_prefix('\'')?.chars();
    match chars.next()? {
        '\\' => Some(quoted_len(text, '\'')),
        c => (chars.next() == Some('\'')).then(|| c.len_utf8() + 2),
    }
}

/// The length of a literal that opens at the start of `text` and ends at the next `quote` without a backslash.
fn quoted_len(text: &str, quote: char) -> usize {
    let mut escaped = false;
    for (at, c) in text.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            c if c == quote => return at + 1,
            _ => {}
        }
    }
    text.len()
}

#[test]
fn comments_strings_and_code_are_told_apart() {
    let source = "let a = \"unsafe // no\"; // unsafe yes\nlet b = '\"'; /* one /* two */\nthree */ let c: &'a str = r#\"un\"safe\"#;\n";
    let lines = lines(source);
    assert_eq!(
        lines[0],
        Line {
            code: "let a = \"\"; ".into(),
            comment: "// unsafe yes".into()
        }
    );
    assert_eq!(
        lines[1],
        Line {
            code: "let b = \"\"; ".into(),
            comment: "/* one /* two */".into()
        }
    );
    assert_eq!(
        lines[2],
        Line {
            code: " let c: &'a str = \"\";".into(),
            comment: "three */".into()
        }
    );
}

#[test]
fn a_string_over_lines_keeps_the_line_numbers() {
    let lines = lines("let a = \"one\ntwo \\\" unsafe\n\"; unsafe {}");
    assert_eq!(lines.len(), 3);
    assert_eq!(lines[2].code, "\"; unsafe {}");
    assert!(lines[1].code.is_empty());
}

#[test]
fn a_name_that_ends_in_r_opens_no_raw_string() {
    assert_eq!(lines("var\"x\" unsafe")[0].code, "var\"\" unsafe");
}

#[test]
fn words_stand_alone() {
    assert_eq!(
        words("unsafe_code unsafe", "unsafe").collect::<Vec<_>>(),
        [12]
    );
}

#[test]
fn unit_tests_are_cut_off() {
    let all = lines("fn a() {}\n#[cfg(test)]\nmod tests {\n}\n");
    assert_eq!(without_unit_tests(&all).len(), 1);
    // Only the module in the file itself is cut, not a declaration of one elsewhere.
    let all = lines("#[cfg(test)]\nmod tests;\nfn a() {}\n");
    assert_eq!(without_unit_tests(&all).len(), all.len());
}
