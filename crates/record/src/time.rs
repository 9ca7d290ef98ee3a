//! Times: UTC, in microseconds since 1970-01-01.

/// A moment, in microseconds since 1970-01-01T00:00:00 UTC, leap seconds not counted.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Time(pub i64);

impl Time {
    /// This moment and `seconds` more.
    pub fn plus_seconds(self, seconds: i64) -> Time {
        Time(self.0.saturating_add(seconds.saturating_mul(1_000_000)))
    }
    /// Seconds since `earlier`, rounded down.
    pub fn seconds_since(self, earlier: Time) -> i64 {
        self.0.saturating_sub(earlier.0).div_euclid(1_000_000)
    }
}

/// RFC 3339 in UTC with six decimals, e.g. `2026-11-21T09:30:00.000000Z`.
impl std::fmt::Display for Time {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (seconds, micros) = (self.0.div_euclid(1_000_000), self.0.rem_euclid(1_000_000));
        let (days, second) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
        let (year, month, day) = civil(days);
        write!(
            f,
            "{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}.{micros:06}Z",
            second / 3600,
            second / 60 % 60,
            second % 60
        )
    }
}

/// From the form of [`std::fmt::Display`], and from no other.
impl std::str::FromStr for Time {
    type Err = crate::Error;
    fn from_str(text: &str) -> Result<Time, crate::Error> {
        let wrong = crate::Error::Field { what: "a time", field: "RFC 3339 in UTC" };
        let read = || {
            let (date, clock) = text.strip_suffix('Z')?.rsplit_once('T')?;
            let (rest, day) = date.rsplit_once('-')?;
            let (year, month) = rest.rsplit_once('-')?;
            let days = day_number(year.parse().ok()?, month.parse().ok()?, day.parse().ok()?);
            let (seconds, micros) = clock.split_once('.')?;
            let mut parts = seconds.split(':').map(|part| part.parse::<u16>().ok().map(i64::from));
            let (h, m, s) = (parts.next()??, parts.next()??, parts.next()??);
            let second = days.checked_mul(86_400)?.checked_add(h * 3600 + m * 60 + s)?;
            second.checked_mul(1_000_000)?.checked_add(micros.parse().ok()?).map(Time)
        };
        // Written again it must be the same: so no field is out of its range.
        read().filter(|time| time.to_string() == text).ok_or(wrong)
    }
}

/// Day number of a date, proleptic Gregorian (H. Hinnant, days_from_civil).
fn day_number(year: i64, month: i64, day: i64) -> i64 {
    let (month, day) = (month.clamp(1, 12), day.clamp(1, 31));
    let y = year.clamp(-1_000_000, 1_000_000) - i64::from(month <= 2);
    let era = y.div_euclid(400);
    let yoe = y - era * 400;
    let doy = (153 * (if month > 2 { month - 3 } else { month + 9 }) + 2) / 5 + day - 1;
    let doe = yoe * 365 + yoe / 4 - yoe / 100 + doy;
    era * 146_097 + doe - 719_468
}

/// Year, month and day of a day number, proleptic Gregorian (H. Hinnant, "chrono-compatible
/// low-level date algorithms", civil_from_days).
fn civil(days: i64) -> (i64, i64, i64) {
    let z = days + 719_468;
    let era = z.div_euclid(146_097);
    let doe = z.rem_euclid(146_097);
    let yoe = (doe - doe / 1460 + doe / 36_524 - doe / 146_096) / 365;
    let doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
    let mp = (5 * doy + 2) / 153;
    let day = doy - (153 * mp + 2) / 5 + 1;
    let month = if mp < 10 { mp + 3 } else { mp - 9 };
    (yoe + era * 400 + i64::from(month <= 2), month, day)
}

impl serde::Serialize for Time {
    fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_str(&self.0.to_string())
    }
}

impl<'de> serde::Deserialize<'de> for Time {
    fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Time, D::Error> {
        let text = std::borrow::Cow::<str>::deserialize(d)?;
        text.parse().map(Time).map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_as_rfc_3339() {
        let check = |micros, text: &str| {
            assert_eq!(Time(micros).to_string(), text);
            assert_eq!(text.parse(), Ok(Time(micros)));
        };
        check(0, "1970-01-01T00:00:00.000000Z");
        check(-1, "1969-12-31T23:59:59.999999Z");
        check(951_782_400_000_000, "2000-02-29T00:00:00.000000Z");
        check(1_795_253_400_123_456, "2026-11-21T09:30:00.123456Z");
    }

    #[test]
    fn what_is_no_time_is_refused() {
        for text in [
            "",
            "2026-11-21",
            "2026-13-21T09:30:00.123456Z",
            "2026-02-30T09:30:00.123456Z",
            "2026-11-21T24:30:00.123456Z",
            "2026-11-21T09:30:00.1Z",
            "99999999999999999-11-21T99999:30:00.99999999999999999Z",
            "é-11-21T09:30:00.123456Z",
        ] {
            assert!(text.parse::<Time>().is_err(), "{text}");
        }
    }
}
