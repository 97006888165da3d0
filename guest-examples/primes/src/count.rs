//! The counting itself.

/// How many primes there are up to and including `n`, by trial division: slow
/// on purpose, since a task that takes its time is what a pool is for.
pub fn primes(n: i64) -> i64 {
    (2..=n).filter(|&candidate| is_prime(candidate)).count() as i64
}

fn is_prime(n: i64) -> bool {
    if n < 4 {
        return n > 1;
    }
    if n % 2 == 0 || n % 3 == 0 {
        return false;
    }
    // Every other prime is next to a multiple of six.
    let mut divisor = 5;
    while divisor <= n / divisor {
        if n % divisor == 0 || n % (divisor + 2) == 0 {
            return false;
        }
        divisor += 6;
    }
    true
}
