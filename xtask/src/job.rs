//! Checks what the main job wrote against what it reported and what it read, by counting lines and nothing else: the
//! content is the business of the job's own tests.

use crate::Result;
use serde_json::Value;
use std::fs;

/// Fails unless every line of `output` and `dead_letters` is a JSON object, and rows in = records + dead letters, both
/// as counted here and as `report` says.
pub(crate) fn check(input: &str, report: &str, output: &str, dead_letters: &str) -> Result<()> {
    let report: Value = serde_json::from_str(&read(report)?)
        .map_err(|error| format!("{report}: not JSON: {error}"))?;
    // The first line of a CSV file names its columns; no field of these files holds a line break.
    let rows = read(input)?.lines().count() as u64 - 1;
    let records = objects(output, &read(output)?)?;
    let letters = objects(dead_letters, &read(dead_letters)?)?;
    for (key, counted) in [
        ("rows", rows),
        ("records", records),
        ("dead_letters", letters),
    ] {
        agree(&report, key, counted)?;
    }
    if records == 0 || records + letters != rows {
        return Err(format!(
            "{rows} rows became {records} records and {letters} dead letters: some are lost or doubled"
        ));
    }
    println!("{rows} rows became {records} records and {letters} dead letters, as reported");
    Ok(())
}

fn read(path: &str) -> Result<String> {
    fs::read_to_string(path).map_err(|error| format!("{path}: {error}"))
}

fn objects(path: &str, text: &str) -> Result<u64> {
    for (index, line) in text.lines().enumerate() {
        match serde_json::from_str(line) {
            Ok(Value::Object(_)) => {}
            Ok(_) => return Err(format!("{path}:{}: JSON, but no object", index + 1)),
            Err(error) => return Err(format!("{path}:{}: not JSON: {error}", index + 1)),
        }
    }
    Ok(text.lines().count() as u64)
}

fn agree(report: &Value, key: &str, counted: u64) -> Result<()> {
    match report[key].as_u64() {
        Some(reported) if reported == counted => Ok(()),
        Some(reported) => Err(format!(
            "the report says {reported} {key}, the files hold {counted}"
        )),
        None => Err(format!("the report has no count {key:?}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn lines_that_are_no_objects_are_caught() {
        assert_eq!(objects("a", "{}\n{\"b\":1}\n"), Ok(2));
        assert!(
            objects("a", "{}\n[1]\n")
                .unwrap_err()
                .starts_with("a:2: JSON, but no object")
        );
        assert!(
            objects("a", "{}\n{\"b\":\n")
                .unwrap_err()
                .starts_with("a:2: not JSON")
        );
    }

    #[test]
    fn counts_that_differ_are_caught() {
        let report = json!({ "rows": 3 });
        assert_eq!(agree(&report, "rows", 3), Ok(()));
        assert!(
            agree(&report, "rows", 4)
                .unwrap_err()
                .contains("says 3 rows, the files hold 4")
        );
        assert!(
            agree(&report, "records", 1)
                .unwrap_err()
                .contains("no count")
        );
    }
}
