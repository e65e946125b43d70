//! How many equal answers in a row it takes to believe them.

/// Counts answers.
#[derive(Clone, Copy, Debug)]
pub(super) struct Threshold {
    believed: bool,
    /// Whether anything was reported yet.
    reported: bool,
    success: i32,
    failure: i32,
    last: Option<bool>,
    run: i32,
}

impl Threshold {
    /// `initially` is believed until enough answers say otherwise.
    pub(super) fn new(initially: bool, success: i32, failure: i32) -> Self {
        let (success, failure) = (success.max(1), failure.max(1));
        Self { believed: initially, reported: false, success, failure, last: None, run: 0 }
    }

    /// Takes one answer; returns what is believed now if that is news. A failure is news each
    /// time the threshold is reached again.
    pub(super) fn feed(&mut self, answer: bool) -> Option<bool> {
        if self.last == Some(answer) {
            self.run += 1;
        } else {
            self.last = Some(answer);
            self.run = 1;
        }
        let needed = if answer { self.success } else { self.failure };
        if self.run < needed {
            return None;
        }
        let is_news = !self.reported || self.believed != answer || (!answer && self.run == needed);
        if !answer {
            self.run = 0;
        }
        self.reported = true;
        self.believed = answer;
        is_news.then_some(answer)
    }
}

#[cfg(test)]
mod tests {
    use test_case::test_case;

    use super::*;

    /// Answers as `+` and `-`; news as `+` and `-`, nothing as `.`.
    #[test_case(1, 3, "+++" => "+.."; "success is told once")]
    #[test_case(1, 3, "+--+---" => "+.....-"; "a success in between starts again")]
    #[test_case(1, 2, "----" => ".-.-"; "failure is told each time")]
    #[test_case(2, 1, "-+-++" => "-.-.+")]
    fn believes(success: i32, failure: i32, answers: &str) -> String {
        let mut threshold = Threshold::new(false, success, failure);
        let told = |answer: char| match threshold.feed(answer == '+') {
            Some(true) => '+',
            Some(false) => '-',
            None => '.',
        };
        answers.chars().map(told).collect()
    }
}
