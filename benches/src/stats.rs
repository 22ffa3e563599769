//! Medians, and tables of text.

/// The middle of `values`, the mean of the two middle ones when their number is even. Not a number if there are none.
pub fn median(values: &[f64]) -> f64 {
    quantile(values, 0.5)
}

/// The value below which the part `q` (0 to 1) of `values` lies, interpolated between neighbours.
pub fn quantile(values: &[f64], q: f64) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let place = q * (sorted.len() as f64 - 1.0);
    match (
        sorted.get(place.floor() as usize),
        sorted.get(place.ceil() as usize),
    ) {
        (Some(below), Some(above)) => below + (above - below) * place.fract(),
        _ => f64::NAN,
    }
}

/// A table with a headline; the first `left` columns are aligned to the left, the others to the right.
pub fn table(headline: &[&str], rows: &[Vec<String>], left: usize) -> String {
    let headline: Vec<String> = headline.iter().map(|name| (*name).to_owned()).collect();
    let all: Vec<&Vec<String>> = std::iter::once(&headline).chain(rows).collect();
    let width = |column: usize| {
        all.iter()
            .map(|row| row[column].chars().count())
            .max()
            .unwrap_or(0)
    };
    let widths: Vec<usize> = (0..headline.len()).map(width).collect();
    let line = |row: &Vec<String>| {
        let cells = row
            .iter()
            .zip(&widths)
            .enumerate()
            .map(|(column, (cell, &width))| {
                if column < left {
                    format!("{cell:<width$}")
                } else {
                    format!("{cell:>width$}")
                }
            });
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned() + "\n"
    };
    all.iter().map(|row| line(row)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_lie_between_the_values() {
        assert_eq!(median(&[3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(&[4.0, 1.0, 2.0, 3.0]), 2.5);
        assert_eq!(quantile(&[1.0, 2.0, 3.0, 4.0, 5.0], 0.25), 2.0);
        assert!(median(&[]).is_nan());
    }

    #[test]
    fn a_table_is_aligned() {
        let rows = [
            vec!["mio".to_owned(), "1".to_owned()],
            vec!["threads".to_owned(), "10".to_owned()],
        ];
        assert_eq!(
            table(&["server", "n"], &rows, 1),
            "server    n\nmio       1\nthreads  10\n"
        );
    }
}
