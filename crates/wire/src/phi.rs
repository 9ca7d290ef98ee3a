//! How sure one can be that a peer is gone that used to be heard regularly: the φ accrual failure detector (Hayashibara,
//! Défago, Yared, Katayama: "The φ Accrual Failure Detector", 2004). No I/O and no clock.
//!
//! A detector remembers the last intervals between two signs of life, and takes them for samples of a normal distribution. φ is
//! -log10 of the probability that a sign of life still comes after a silence as long as the present one: at φ = 1 a
//! peer is wrongly taken for gone one time in ten, at 8 one time in 10^8. The caller chooses what to do from which φ on.
//!
//! ```
//! # use std::time::Duration;
//! # use strongroom_wire::phi::{Detector, Settings};
//! let mut detector = Detector::new(Settings::default());
//! let second = Duration::from_secs(1);
//! (0..60).for_each(|n| detector.heard(n * second));
//! assert!(detector.phi(60 * second) < 0.1);
//! assert!(detector.phi(66 * second) > 8.0);
//! ```
//!
//! As in Akka and Cassandra the deviation has a least value, for peers that are very regular; a pause is granted on top of the
//! mean; and intervals that are outages are not remembered, or a peer that came back would be trusted for as long again.
//! Unlike theirs, the tail of the distribution is computed and not approximated, and in logarithms, so that φ keeps
//! growing with the silence: it is never infinite, and two peers that are both long gone can still be compared.

use std::time::Duration;

/// Intervals that are remembered.
pub const INTERVALS_MAX: usize = 100;

/// What a detector expects of a peer.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Between two signs of life, before any were heard. Taken for two intervals, a quarter apart from it on both sides.
    pub first_interval: Duration,
    /// The standard deviation is at least so much. Not less than 1 ms.
    pub deviation_min: Duration,
    /// So much silence beyond the mean is granted without any doubt: a collection of garbage, a slow disk, a short loss
    /// of the network.
    pub pause: Duration,
    /// A longer interval was an outage, and is not remembered.
    pub interval_max: Duration,
}

impl Default for Settings {
    /// For a sign of life each second.
    fn default() -> Settings {
        Settings {
            first_interval: Duration::from_secs(1),
            deviation_min: Duration::from_millis(100),
            pause: Duration::from_secs(3),
            interval_max: Duration::from_secs(10),
        }
    }
}

/// The least `deviation_min`.
const DEVIATION_MIN: Duration = Duration::from_millis(1);
/// Silences and intervals are taken for no longer than this, a hundred years: so that sums of squares fit.
const SILENCE_MAX: Duration = Duration::from_secs(100 * 366 * 24 * 60 * 60);

/// What is known of one peer.
#[derive(Debug, Clone)]
pub struct Detector {
    settings: Settings,
    /// In microseconds; `next` is the place of the oldest where there are [`INTERVALS_MAX`].
    intervals: [u64; INTERVALS_MAX],
    count: usize,
    next: usize,
    /// Of the intervals and of their squares: whole numbers, so that nothing is lost by adding and taking away for years.
    sum: u128,
    squares: u128,
    last: Option<Duration>,
}

impl Detector {
    /// Of a peer that was not heard yet.
    pub fn new(settings: Settings) -> Detector {
        let mut detector = Detector {
            intervals: [0; INTERVALS_MAX],
            count: 0,
            next: 0,
            sum: 0,
            squares: 0,
            last: None,
            settings,
        };
        let first = detector.settings.first_interval;
        detector.remember(first.saturating_sub(first / 4));
        detector.remember(first.saturating_add(first / 4));
        detector
    }

    /// A sign of life came. Where `now` is before the last one, it counts as at the same time.
    pub fn heard(&mut self, now: Duration) {
        if let Some(last) = self.last {
            let interval = now.saturating_sub(last);
            if interval <= self.settings.interval_max {
                self.remember(interval);
            }
        }
        self.last = Some(self.last.map_or(now, |last| last.max(now)));
    }

    fn remember(&mut self, interval: Duration) {
        let micros = u64::try_from(interval.min(SILENCE_MAX).as_micros()).unwrap_or(u64::MAX);
        let square = |n: u64| u128::from(n) * u128::from(n);
        let place = &mut self.intervals[self.next];
        if self.count == INTERVALS_MAX {
            self.sum -= u128::from(*place);
            self.squares -= square(*place);
        } else {
            self.count += 1;
        }
        *place = micros;
        self.sum += u128::from(micros);
        self.squares += square(micros);
        self.next = (self.next + 1) % INTERVALS_MAX;
    }

    /// When a sign of life last came.
    pub fn last(&self) -> Option<Duration> {
        self.last
    }

    /// The mean and the standard deviation of what is remembered, in seconds.
    fn shape(&self) -> (f64, f64) {
        // There are always the two first intervals, or a hundred others.
        let count = self.count as u128;
        // Before they become inexact: the variance times the square of the count, in whole numbers.
        let variance = (count * self.squares).saturating_sub(self.sum * self.sum);
        let mean = self.sum as f64 / count as f64 / 1e6;
        (mean, (variance as f64).sqrt() / count as f64 / 1e6)
    }

    /// How sure it is that nothing more comes: from 0 on, without end. 0 where nothing was heard yet, for then there is nothing
    /// that could have ended. It does not fall while nothing is heard.
    pub fn phi(&self, now: Duration) -> f64 {
        let Some(last) = self.last else { return 0.0 };
        let silence = now.saturating_sub(last).min(SILENCE_MAX).as_secs_f64();
        let (mean, deviation) = self.shape();
        let least = self.settings.deviation_min.max(DEVIATION_MIN).as_secs_f64();
        let expected = mean + self.settings.pause.min(SILENCE_MAX).as_secs_f64();
        tail_digits((silence - expected) / deviation.max(least))
    }
}

/// -log10 of the probability that a standard normal variable is greater than `y`.
fn tail_digits(y: f64) -> f64 {
    /// From here on the continued fraction is good, and up to here the series.
    const SWITCH: f64 = 3.0;
    let density_ln = |y: f64| -0.5 * (y * y + (2.0 * std::f64::consts::PI).ln());
    if y > SWITCH {
        return (mills_inverse(y).ln() - density_ln(y)) / std::f64::consts::LN_10;
    }
    let ln = if y < -SWITCH {
        let below = density_ln(y).exp() / mills_inverse(-y);
        (-below).ln_1p()
    } else {
        // Marsaglia: "Evaluating the Normal Distribution", 2004.
        let (mut sum, mut term, mut n) = (y, y, 1.0);
        while sum + term != sum {
            n += 2.0;
            term *= y * y / n;
            sum += term;
        }
        (0.5 - density_ln(y).exp() * sum).ln()
    };
    // Not -0.
    (-ln / std::f64::consts::LN_10).max(0.0)
}

/// The density of the normal distribution at `y`, over the probability above `y`, for `y` of 3 or more: Laplace's continued fraction
/// y + 1/(y + 2/(y + 3/(y + ...))), from its end.
fn mills_inverse(y: f64) -> f64 {
    /// So many steps give all digits of an f64 from 3 on.
    const STEPS: u32 = 120;
    (1..=STEPS).rev().fold(y, |rest, n| y + f64::from(n) / rest)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn regular(beats: u32) -> Detector {
        let mut detector = Detector::new(Settings::default());
        (0..beats).for_each(|n| detector.heard(n * SECOND));
        detector
    }

    /// Values of the survival function of the normal distribution, computed with 40 digits (mpmath).
    #[test]
    fn the_tail_is_exact() {
        let rows = [
            (-10.0, 3.309_260_121_306_722_3e-24),
            (-4.0, 1.375_486_338_109_944_7e-5),
            (-1.0, 0.075_026_012_957_818_02),
            (0.0, std::f64::consts::LOG10_2),
            (1.0, 0.799_545_541_491_970_5),
            (2.999_999, 2.869_697_610_097_941_3),
            (3.000_001, 2.869_700_461_761_200_5),
            (5.0, 6.542_645_672_390_654_5),
            (10.0, 23.118_053_405_486_076),
            (40.0, 349.437_006_459_345_84),
        ];
        for (y, expected) in rows {
            let got = tail_digits(y);
            assert!((got - expected).abs() <= expected * 1e-12, "{y}: {got}, not {expected}");
        }
    }

    #[test]
    fn a_regular_peer_is_trusted_and_a_silent_one_is_not() {
        let detector = regular(200);
        let at = |seconds: f64| detector.phi(Duration::from_secs_f64(199.0 + seconds));
        assert!(at(1.0) < 1e-9);
        assert!((at(4.0) - 2f64.log10()).abs() < 1e-9, "half, at the mean and the pause");
        assert!(at(4.2) > 1.0);
        assert!(at(5.0) > 8.0);
        assert!(at(1e9) > at(1e8) && at(1e9).is_finite(), "it grows without end");
    }

    #[test]
    fn an_irregular_peer_is_given_more_time() {
        let mut irregular = Detector::new(Settings::default());
        let mut now = Duration::ZERO;
        for n in 0..200 {
            now += if n % 2 == 0 { SECOND / 4 } else { SECOND * 7 / 4 };
            irregular.heard(now);
        }
        let regular = regular(200);
        let silence = Duration::from_secs(5);
        assert!(irregular.phi(now + silence) < regular.phi(199 * SECOND + silence) / 4.0);
    }

    #[test]
    fn nothing_is_known_of_a_peer_that_was_never_heard() {
        let mut detector = Detector::new(Settings::default());
        assert_eq!(detector.phi(1000 * SECOND), 0.0);
        detector.heard(1000 * SECOND);
        assert!(detector.phi(1001 * SECOND) < 0.1);
        assert!(detector.phi(1010 * SECOND) > 8.0, "the first interval is expected of it");
    }

    #[test]
    fn an_outage_is_not_taken_for_the_peers_rhythm() {
        let mut detector = regular(100);
        detector.heard(10_000 * SECOND);
        assert!(detector.phi(10_001 * SECOND) < 0.1);
        assert!(detector.phi(10_006 * SECOND) > 8.0);
    }

    #[test]
    fn a_new_rhythm_is_learnt() {
        let mut detector = regular(100);
        let mut now = 99 * SECOND;
        for _ in 0..INTERVALS_MAX {
            now += 8 * SECOND;
            detector.heard(now);
        }
        assert!(detector.phi(now + 9 * SECOND) < 0.1);
        let (mean, deviation) = detector.shape();
        assert_eq!((mean, deviation), (8.0, 0.0), "nothing of the old one is left in the sums");
    }

    proptest! {
        #[test]
        fn phi_is_a_number_and_does_not_fall(
            beats in proptest::collection::vec(any::<u64>(), 0..300),
            first in any::<u64>(), least in any::<u64>(), pause in any::<u64>(), most in any::<u64>(),
            shift in 0u32..64, silence in any::<u64>(), more in any::<u64>(),
        ) {
            let span = |nanos: u64| Duration::from_nanos(nanos >> shift) * (1 + shift % 3 * 1000);
            let mut detector = Detector::new(Settings {
                first_interval: span(first),
                deviation_min: span(least),
                pause: span(pause),
                interval_max: span(most),
            });
            let mut now = Duration::ZERO;
            for beat in beats {
                now = now.saturating_add(span(beat));
                detector.heard(now);
            }
            let one = now.saturating_add(span(silence));
            let other = one.saturating_add(span(more));
            let (one, other) = (detector.phi(one), detector.phi(other));
            prop_assert!(one >= 0.0 && other.is_finite() && one <= other, "{} {}", one, other);
        }

        #[test]
        fn the_two_ways_to_the_tail_meet(y in -8.0f64..8.0) {
            let (one, other) = (tail_digits(y), tail_digits(y + 1e-9));
            prop_assert!(other >= one && other - one < 1e-7, "{} {}", one, other);
        }
    }
}
