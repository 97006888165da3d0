//! What the terminal and the environment around the command allow. Pure but
//! for [`Surroundings::detect`].

use std::io::IsTerminal;

use super::args::When;

/// What decides colours and the progress line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Surroundings {
    /// Standard error is a terminal.
    pub terminal: bool,
    /// `TERM` is `dumb` or missing.
    pub dumb: bool,
    /// `NO_COLOR` is set and not empty.
    pub no_color: bool,
    /// `CLICOLOR_FORCE` is set and not `0`.
    pub force_color: bool,
    /// A continuous-integration service runs us.
    pub ci: bool,
}

impl Surroundings {
    /// Looks around.
    #[must_use]
    pub fn detect() -> Self {
        let text = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
        Self {
            terminal: std::io::stderr().is_terminal(),
            dumb: text("TERM").is_none_or(|term| term == "dumb"),
            no_color: text("NO_COLOR").is_some(),
            force_color: text("CLICOLOR_FORCE").is_some_and(|value| value != "0"),
            ci: text("CI").is_some(),
        }
    }

    /// Whether messages are coloured.
    #[must_use]
    pub fn color(self, when: When) -> bool {
        match when {
            When::Always => true,
            When::Never => false,
            When::Auto => !self.no_color && (self.force_color || (self.terminal && !self.dumb)),
        }
    }

    /// Whether, and how, progress is shown.
    #[must_use]
    pub fn progress(self, when: When) -> ProgressStyle {
        let redrawn = self.terminal && !self.dumb;
        match when {
            When::Never => ProgressStyle::None,
            When::Auto if redrawn && !self.ci => ProgressStyle::Redrawn,
            When::Auto => ProgressStyle::None,
            When::Always if redrawn => ProgressStyle::Redrawn,
            When::Always => ProgressStyle::Lines,
        }
    }
}

/// How progress is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProgressStyle {
    /// Not at all.
    None,
    /// One line, drawn again and again.
    Redrawn,
    /// A new line now and then, for logs.
    Lines,
}

#[cfg(test)]
mod tests {
    use super::*;

    const TERMINAL: Surroundings =
        Surroundings { terminal: true, dumb: false, no_color: false, force_color: false, ci: false };

    #[test]
    fn colours_follow_the_conventions() {
        assert!(TERMINAL.color(When::Auto));
        assert!(!TERMINAL.color(When::Never));
        assert!(!Surroundings { no_color: true, ..TERMINAL }.color(When::Auto));
        assert!(!Surroundings { dumb: true, ..TERMINAL }.color(When::Auto));
        assert!(!Surroundings { terminal: false, ..TERMINAL }.color(When::Auto));
        assert!(Surroundings { terminal: false, force_color: true, ..TERMINAL }.color(When::Auto));
        assert!(Surroundings { no_color: true, ..TERMINAL }.color(When::Always));
    }

    #[test]
    fn progress_is_for_terminals_unless_insisted_on() {
        assert_eq!(TERMINAL.progress(When::Auto), ProgressStyle::Redrawn);
        assert_eq!(TERMINAL.progress(When::Never), ProgressStyle::None);
        assert_eq!(Surroundings { ci: true, ..TERMINAL }.progress(When::Auto), ProgressStyle::None);
        let pipe = Surroundings { terminal: false, ..TERMINAL };
        assert_eq!(pipe.progress(When::Auto), ProgressStyle::None);
        assert_eq!(pipe.progress(When::Always), ProgressStyle::Lines);
    }
}
