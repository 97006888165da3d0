//! The measuring itself: pure functions from text to figures.

use std::collections::HashMap;

use crate::{ReadingLevel, Stats, WordCount};

/// How fast a grown-up reads without hurry.
const WORDS_PER_MINUTE: f64 = 200.0;

/// All figures of a text, with its `top_count` most frequent words.
pub fn stats(text: &str, top_count: usize) -> Stats {
    let mut counts: HashMap<String, u32> = HashMap::new();
    let mut total = 0_u32;
    let mut syllables_total = 0_u32;
    for word in words(text) {
        let word = word.to_lowercase();
        total += 1;
        syllables_total += syllables(&word);
        *counts.entry(word).or_default() += 1;
    }
    let sentences = sentences(text);
    let readability = (total > 0).then(|| flesch(total, sentences, syllables_total));
    Stats {
        words: total,
        sentences,
        characters: text.chars().count() as u64,
        unique_words: counts.len() as u32,
        top: most_frequent(counts, top_count),
        readability,
        level: readability.map(level),
        reading_minutes: two_decimals(f64::from(total) / WORDS_PER_MINUTE),
    }
}

/// Runs of letters and digits; an apostrophe inside belongs to the word.
fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| !c.is_alphanumeric() && !is_apostrophe(c))
        .map(|word| word.trim_matches(is_apostrophe))
        .filter(|word| !word.is_empty())
}

fn is_apostrophe(c: char) -> bool {
    matches!(c, '\'' | '’')
}

/// Stretches with a word in them that end in `.`, `!`, `?` or with the text.
fn sentences(text: &str) -> u32 {
    text.split(['.', '!', '?']).filter(|part| words(part).next().is_some()).count() as u32
}

/// Groups of vowels, less a silent final `e`; at least one. A rule of thumb for
/// English, which is what the formula was made for.
fn syllables(word: &str) -> u32 {
    let mut groups = 0;
    let mut in_group = false;
    for c in word.chars() {
        let vowel = matches!(c, 'a' | 'e' | 'i' | 'o' | 'u' | 'y');
        groups += u32::from(vowel && !in_group);
        in_group = vowel;
    }
    if word.ends_with('e') && !word.ends_with("le") {
        groups = groups.saturating_sub(1);
    }
    groups.max(1)
}

/// Flesch's reading ease: about 0 (hard) to 100 (easy).
fn flesch(words: u32, sentences: u32, syllables: u32) -> f64 {
    let (words, sentences, syllables) = (f64::from(words), f64::from(sentences.max(1)), f64::from(syllables));
    two_decimals(206.835 - 1.015 * (words / sentences) - 84.6 * (syllables / words))
}

fn level(readability: f64) -> ReadingLevel {
    if readability >= 70.0 {
        ReadingLevel::Easy
    } else if readability >= 50.0 {
        ReadingLevel::Plain
    } else {
        ReadingLevel::Hard
    }
}

fn most_frequent(counts: HashMap<String, u32>, top_count: usize) -> Vec<WordCount> {
    let mut all: Vec<WordCount> = counts.into_iter().map(|(word, count)| WordCount { word, count }).collect();
    all.sort_by(|a, b| b.count.cmp(&a.count).then_with(|| a.word.cmp(&b.word)));
    all.truncate(top_count);
    all
}

fn two_decimals(x: f64) -> f64 {
    (x * 100.0).round() / 100.0
}
