//! Rows to types and back, and inserting many rows at once.

use sqlx::sqlite::{SqliteArguments, SqliteConnection, SqliteRow};
use sqlx::{AssertSqlSafe, Decode, Row as _, Sqlite, Type};
use strongroom_record::{Coding, CodingNumber, Id, Sha256, Time};

use crate::{Error, LIST_ROWS_MAX};

/// A row of a table; its failures name the table.
pub(crate) struct Fields<'r> {
    row: &'r SqliteRow,
    table: &'static str,
}

impl<'r> Fields<'r> {
    pub(crate) fn new(row: &'r SqliteRow, table: &'static str) -> Fields<'r> {
        Fields { row, table }
    }

    pub(crate) fn corrupt(&self, column: &str, why: impl std::fmt::Display) -> Error {
        Error::Corrupt { table: self.table, what: format!("{column}: {why}") }
    }

    pub(crate) fn get<T: Decode<'r, Sqlite> + Type<Sqlite>>(
        &self,
        column: &str,
    ) -> Result<T, Error> {
        self.row.try_get(column).map_err(|why| self.corrupt(column, why))
    }

    pub(crate) fn bytes(&self, column: &str) -> Result<&'r [u8], Error> {
        self.get(column)
    }

    pub(crate) fn text(&self, column: &str) -> Result<String, Error> {
        self.get(column)
    }

    pub(crate) fn array<const N: usize>(&self, column: &str) -> Result<[u8; N], Error> {
        let bytes = self.bytes(column)?;
        bytes.try_into().map_err(|_| self.corrupt(column, format!("not {N} bytes")))
    }

    pub(crate) fn id<I: Id>(&self, column: &str) -> Result<I, Error> {
        I::from_slice(self.bytes(column)?).map_err(|why| self.corrupt(column, why))
    }

    pub(crate) fn id_or_none<I: Id>(&self, column: &str) -> Result<Option<I>, Error> {
        let bytes: Option<&[u8]> = self.get(column)?;
        bytes.map(I::from_slice).transpose().map_err(|why| self.corrupt(column, why))
    }

    pub(crate) fn sha256(&self, column: &str) -> Result<Sha256, Error> {
        Sha256::from_slice(self.bytes(column)?).map_err(|why| self.corrupt(column, why))
    }

    /// A number that is never negative, in the width that is wanted.
    pub(crate) fn number<N: TryFrom<i64>>(&self, column: &str) -> Result<N, Error> {
        let number: i64 = self.get(column)?;
        N::try_from(number).map_err(|_| self.corrupt(column, "a number out of range"))
    }

    pub(crate) fn number_or_none(&self, column: &str) -> Result<Option<u64>, Error> {
        let number: Option<i64> = self.get(column)?;
        let number = number.map(u64::try_from).transpose();
        number.map_err(|_| self.corrupt(column, "a number out of range"))
    }

    pub(crate) fn flag(&self, column: &str) -> Result<bool, Error> {
        Ok(self.get::<i64>(column)? != 0)
    }

    pub(crate) fn time(&self, column: &str) -> Result<Time, Error> {
        self.get(column).map(Time)
    }

    pub(crate) fn time_or_none(&self, column: &str) -> Result<Option<Time>, Error> {
        Ok(self.get::<Option<i64>>(column)?.map(Time))
    }

    /// A word of a fixed list.
    pub(crate) fn word<T>(
        &self,
        column: &str,
        parse: impl Fn(&str) -> Result<T, strongroom_record::Error>,
    ) -> Result<T, Error> {
        parse(self.get(column)?).map_err(|why| self.corrupt(column, why))
    }

    pub(crate) fn coding(&self, column: &str) -> Result<Coding, Error> {
        self.word(column, str::parse)
    }

    pub(crate) fn coding_or_none(&self, column: &str) -> Result<Option<Coding>, Error> {
        let text: Option<&str> = self.get(column)?;
        text.map(str::parse).transpose().map_err(|why| self.corrupt(column, why))
    }

    pub(crate) fn coding_number(&self) -> Result<CodingNumber, Error> {
        Ok(CodingNumber { epoch: self.number("coding_epoch")?, number: self.number("coding_no")? })
    }

    pub(crate) fn json(&self, column: &str) -> Result<serde_json::Value, Error> {
        serde_json::from_str(self.get(column)?).map_err(|why| self.corrupt(column, why))
    }
}

/// A number as the database keeps it.
pub(crate) fn int(number: u64) -> Result<i64, Error> {
    i64::try_from(number).map_err(|_| Error::TooLarge {
        what: "a number",
        found: number,
        max: i64::MAX.unsigned_abs(),
    })
}

/// The limit of a list.
pub(crate) fn limited(limit: u32) -> i64 {
    limit.min(LIST_ROWS_MAX).into()
}

/// First and last id with these leading hexadecimal digits; `None` where they are not that.
pub(crate) fn prefix_range(prefix: &str) -> Option<([u8; 16], [u8; 16])> {
    if prefix.is_empty() || prefix.len() > 32 {
        return None;
    }
    let (mut low, mut high) = ([0u8; 16], [0xffu8; 16]);
    for (i, digit) in prefix.chars().enumerate() {
        let digit = u8::try_from(digit.to_digit(16)?).ok()?;
        let (shift, mask) = if i % 2 == 0 { (4, 0x0f) } else { (0, 0xf0) };
        for end in [&mut low, &mut high] {
            end[i / 2] = (end[i / 2] & mask) | (digit << shift);
        }
    }
    Some((low, high))
}

pub(crate) type Query = sqlx::query::Query<'static, Sqlite, SqliteArguments>;

/// Rows in one statement. Few sizes, so that each statement is prepared once.
const ROWS_PER_STATEMENT: [usize; 3] = [100, 10, 1];

/// Statements that insert rows, many in each, since each statement costs a turn to the database's
/// thread. `head` is `INSERT INTO table (columns) VALUES`, which has `columns` columns.
///
/// `?` instead of `$n`: SQLite looks named parameters up one by one, at a cost that grows with the
/// square of their number.
pub(crate) fn inserts<T>(
    head: &str,
    columns: usize,
    mut rows: &[T],
    bind: impl Fn(Query, &T) -> Result<Query, Error>,
) -> Result<Vec<Query>, Error> {
    let mut statements = Vec::new();
    for size in ROWS_PER_STATEMENT {
        if rows.len() < size {
            continue;
        }
        let row = format!("({})", vec!["?"; columns].join(","));
        let sql: std::sync::Arc<str> = format!("{head} {}", vec![row; size].join(",")).into();
        while rows.len() >= size {
            let (now, later) = rows.split_at(size);
            let query = sqlx::query(AssertSqlSafe(sql.clone()));
            statements.push(now.iter().try_fold(query, &bind)?);
            rows = later;
        }
    }
    Ok(statements)
}

/// Executes them in order.
pub(crate) async fn execute(
    connection: &mut SqliteConnection,
    statements: Vec<Query>,
) -> Result<(), Error> {
    for statement in statements {
        statement.execute(&mut *connection).await?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_names_a_range_of_ids() {
        let (low, high) = prefix_range("aBc").unwrap();
        assert_eq!((low[0], low[1], low[2]), (0xab, 0xc0, 0x00));
        assert_eq!((high[0], high[1], high[2]), (0xab, 0xcf, 0xff));
        let whole = "00112233445566778899aabbccddeeff";
        let (low, high) = prefix_range(whole).unwrap();
        assert_eq!(low, high);
        for bad in ["", "xy", "é", &format!("{whole}0")] {
            assert!(prefix_range(bad).is_none(), "{bad}");
        }
    }
}
