//! The rows of what is copied from CPython and of what is done better, with
//! the tests that hold each. docs/parity.md shows them as tables.

use std::path::Path;

/// A row: what it is about, what CPython does, what wpool does, the tests.
struct Row(&'static str, &'static str, &'static str, &'static [&'static str]);

/// What is copied.
const SAME: [Row; 20] = [
    Row(
        "sizes",
        "`processes=None`: processors (from 3.13 on those of this process); below 1 `ValueError`",
        "the processors of this process, fewer where memory is short; below 1 `Error::Usage`, exit 2",
        &[
            "sizes_are_refused_where_python_refuses_them",
            "the_command_refuses_the_same_sizes",
            "p19_the_default_size_is_what_this_process_may_use",
            "the_default_size_is_the_machines_processors_where_memory_does",
            "the_smallest_limit_up_the_tree_counts_in_version_two",
            "memory_decides_the_workers_and_says_so",
        ],
    ),
    Row(
        "`maxtasksperchild`",
        "a positive number or none, else `ValueError`",
        "the same",
        &["sizes_are_refused_where_python_refuses_them", "the_command_refuses_the_same_sizes"],
    ),
    Row(
        "default chunk size of `map`",
        "`ceil(items / (4 * workers))`",
        "`Chunksize::python` is that formula; without it chunks go by how long tasks take",
        &["chunks_are_cut_by_pythons_formula", "pythons_chunk_sizes_are_found_by_its_formula"],
    ),
    Row(
        "chunk size of `imap`",
        "1; below 1 `ValueError`",
        "the same, `CallError::Usage`",
        &[
            "chunks_are_cut_by_pythons_formula",
            "sizes_under_one_are_errors",
            "an_endless_input_is_pulled_as_far_as_the_window_and_dropping_ends_all",
        ],
    ),
    Row(
        "input without a length",
        "`map` lists it first, `imap` pulls as it goes",
        "the same results; all are pulled as they are needed",
        &[
            "inputs_without_a_length_and_empty_ones_are_pythons",
            "a_map_begins_before_its_input_has_ended",
            "an_endless_input_is_pulled_no_further_than_the_window",
        ],
    ),
    Row(
        "order",
        "`map` and `imap` that of the input, whatever ends first",
        "the same",
        &[
            "results_come_in_pythons_order",
            "the_command_gives_results_in_pythons_order",
            "outcomes_come_in_input_order_whatever_the_chunksize",
        ],
    ),
    Row(
        "empty input",
        "`[]`, ready at once",
        "the same",
        &["inputs_without_a_length_and_empty_ones_are_pythons", "an_empty_map_is_an_empty_list_at_once"],
    ),
    Row(
        "`AsyncResult`",
        "`get(timeout)` raises `TimeoutError`, `wait`, `ready`; `successful` raises `ValueError` before the end",
        "`CallError::TimedOut`; `successful` is `None` before the end",
        &["async_results_say_what_pythons_say", "get_gives_the_value_and_wait_ready_successful_tell_of_it"],
    ),
    Row(
        "iterator of `imap`",
        "`next(timeout)`; with chunks of 1 an error comes at its place and the iterator goes on",
        "the same, with chunks of any size",
        &[
            "imap_goes_on_after_errors_and_late_values_as_pythons",
            "an_error_comes_at_its_place_and_the_iterator_goes_on",
            "a_late_value_is_a_timeout_and_the_iterator_can_be_used_on",
        ],
    ),
    Row(
        "failure of a `map`",
        "the first to arrive is raised, after all chunks have ended",
        "the same, after all items",
        &[
            "a_map_raises_the_failure_that_came_first_after_all_have_ended",
            "the_error_of_a_map_is_the_first_to_come_after_all_items_ended",
        ],
    ),
    Row(
        "error of the input",
        "the failure of the next position, which is the last",
        "the same, for an iterator that panics",
        &["imap_goes_on_after_errors_and_late_values_as_pythons", "an_input_that_panics_fails_at_the_next_position"],
    ),
    Row(
        "result that cannot be sent",
        "`MaybeEncodingError`",
        "`bad-output` or `result-too-large` of that item",
        &[
            "what_cannot_be_sent_is_refused_as_by_python",
            "a_result_over_its_limit_is_the_encoding_error",
            "a_result_that_cannot_be_sent_is_that_items_error",
        ],
    ),
    Row(
        "remote traceback",
        "text, as `__cause__`",
        "`TaskError::function`, and `detail.frames` of a trap",
        &["what_cannot_be_sent_is_refused_as_by_python", "an_error_names_the_item_the_function_and_the_place"],
    ),
    Row(
        "life of a pool",
        "`close` finishes, `terminate` and the end of `with` end, `join` before either and calls after are `ValueError`",
        "the same, `CallError::Running` and `CallError::Closed`; `with` is a scope",
        &[
            "a_pool_is_closed_terminated_and_joined_as_pythons",
            "after_close_nothing_is_taken_and_what_was_begun_ends",
            "join_waits_for_all_and_only_after_close",
            "terminate_ends_at_once_and_what_is_pending_is_cancelled",
            "what_is_pending_when_the_pool_ends_is_cancelled",
        ],
    ),
    Row(
        "callbacks",
        "`callback(value)`, `error_callback(error)`; of a map once, with the list",
        "the same",
        &["callbacks_hear_what_pythons_hear", "callbacks_get_values_and_error_callbacks_errors"],
    ),
    Row(
        "a pool as an argument",
        "`NotImplementedError`",
        "does not compile",
        &["what_cannot_be_sent_is_refused_as_by_python"],
    ),
    Row(
        "`Process`",
        "`start`, `join(timeout)`, `is_alive`, `terminate`, `kill`, `exitcode` (negative: a signal), `name`, `daemon`",
        "the same, and the function's value",
        &[
            "a_process_has_pythons_states",
            "p17_five_processes_are_started_and_joined",
            "p17_join_with_a_timeout_then_terminate_or_kill",
            "exit_codes_say_how_it_ended",
            "what_was_not_started_cannot_be_joined_and_starts_once",
            "dropping_a_process_waits_for_it_and_ends_a_daemon",
        ],
    ),
    Row(
        "`Manager().Queue()`",
        "`put` and `get` with timeouts (`Full`, `Empty`), `qsize`, `task_done`, `join`",
        "the same, by `Manager::queue` and in tasks",
        &[
            "a_managers_queue_is_pythons",
            "p9_tasks_write_a_queue_and_others_read_it",
            "join_waits_until_every_value_is_dealt_with",
        ],
    ),
    Row(
        "3.14: `Executor.map(buffersize=)`, `kill_workers()`",
        "bounds what is pulled; ends workers at once",
        "`window`, by default twice the workers; `terminate`",
        &["a_buffer_size_is_the_window", "terminate_ends_at_once_and_what_is_pending_is_cancelled"],
    ),
    Row(
        "after 3.15: `imap(buffersize=)`",
        "bounds what is pulled",
        "`CallOptions::window`, `--window`",
        &["a_buffer_size_is_the_window", "the_window_grows_with_the_chunk"],
    ),
];

/// What is done better.
const BETTER: [Row; 14] = [
    Row(
        "a worker is killed in a task",
        "`map` hangs",
        "`worker-crashed` with the signal after a second try; the others end",
        &["a_killed_worker_costs_its_item_and_the_map_ends", "a_worker_that_dies_twice_costs_its_item"],
    ),
    Row(
        "`sys.exit` in a task",
        "`map` hangs",
        "`exit` with the code; the others end",
        &["a_task_that_exits_costs_its_item_and_the_map_ends"],
    ),
    Row(
        "a worker is killed with the queue's lock, or halfway through a result",
        "the next `map` hangs",
        "workers share no queue and no lock: it goes on",
        &["workers_killed_while_idle_leave_nothing_locked", "deaths_cost_their_item_whatever_the_page_says"],
    ),
    Row(
        "one bad item in a chunk",
        "those after it are not run; `imap` ends there",
        "every item runs and has an outcome of its own",
        &["every_item_of_a_chunk_runs_and_has_its_own_outcome", "one_bad_item_of_a_chunk_costs_no_other"],
    ),
    Row(
        "which item failed",
        "the exception does not know",
        "`TaskError`: index, input, function, attempts, worker, kind",
        &["an_error_knows_its_item", "an_error_names_the_item_the_function_and_the_place"],
    ),
    Row(
        "a task that takes too long",
        "`get(timeout)` gives up, the task goes on",
        "`timeout`: the task is ended",
        &["a_task_over_its_time_is_ended", "a_calls_timeout_tightens_the_pools"],
    ),
    Row(
        "`maxtasksperchild=1`, 12 items",
        "4 processes: chunks are counted",
        "12 processes: items are",
        &["workers_are_recycled_after_items", "workers_are_replaced_after_items_not_chunks"],
    ),
    Row(
        "failing initializer",
        "processes are started for ever, `map` hangs",
        "`Error::Initializer` of `build`, exit 3; of a later worker, the end of the pool",
        &[
            "an_initializer_that_fails_ends_the_start_of_the_pool",
            "a_failing_initializer_is_the_error_of_build",
            "a_later_worker_whose_initializer_fails_ends_the_pool",
        ],
    ),
    Row(
        "a callback raises",
        "the thread of results ends, all later calls hang",
        "counted in `Stats::callbacks_panicked`; nothing is lost",
        &["a_callback_that_panics_loses_no_result", "a_callback_that_panics_costs_no_other_result"],
    ),
    Row(
        "an exception that cannot be unpickled",
        "`map` hangs",
        "errors are data, whatever a guest says",
        &["no_error_is_unreadable"],
    ),
    Row(
        "`imap` over an endless input",
        "pulls it without bound",
        "pulls as far as the window",
        &[
            "an_endless_input_is_pulled_no_further_than_the_window",
            "an_endless_input_is_pulled_as_far_as_the_window_and_dropping_ends_all",
        ],
    ),
    Row(
        "`with` is left while a result is pending",
        "`get` hangs",
        "`cancelled`; of a stream one outcome for each item",
        &["what_is_pending_when_the_pool_ends_is_cancelled", "every_item_of_a_terminated_stream_ends_in_one_outcome"],
    ),
    Row(
        "`ProcessPoolExecutor`: a worker is killed",
        "all that is pending fails, the pool stays unusable",
        "one item fails, the pool goes on",
        &["a_death_fails_nothing_that_is_pending", "killed_workers_cost_only_items_hit_twice"],
    ),
    Row(
        "a thread holds a lock while workers start",
        "forked workers hang on it",
        "workers are executed anew",
        &["locks_that_threads_hold_keep_no_worker_from_starting", "processes_are_started_in_one_file"],
    ),
];

/// The line of docs/parity.md.
fn line(Row(row, cpython, ours, tests): &Row) -> String {
    let tests: Vec<String> = tests.iter().map(|test| format!("`{test}`")).collect();
    format!("| {row} | {cpython} | {ours} | {} |", tests.join(" "))
}

#[test]
fn each_row_of_parity_has_its_tests() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut all = String::new();
    crate::support::sources(&root.join("host"), &mut all);
    crate::support::sources(&root.join("tests"), &mut all);
    for row in SAME.iter().chain(&BETTER) {
        assert!(!row.3.is_empty(), "{}: has no tests", row.0);
        for test in row.3 {
            assert!(all.contains(&format!("fn {test}()")), "{}: no test {test}", row.0);
        }
    }
}

#[test]
fn the_page_of_parity_is_these_tables() {
    let page = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/parity.md")).unwrap();
    let shown: Vec<&str> = page.lines().filter(|line| line.starts_with("| ") && !line.starts_with("| row ")).collect();
    let rows: Vec<String> = SAME.iter().chain(&BETTER).map(line).collect();
    assert_eq!(shown, rows, "docs/parity.md should have these lines:\n{}", rows.join("\n"));
}

#[test]
fn every_program_of_parity_is_run() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut tests = String::new();
    crate::support::sources(&root.join("tests/it/parity"), &mut tests);
    for entry in std::fs::read_dir(root.join("tests/parity")).unwrap().map(Result::unwrap) {
        let name = entry.file_name().into_string().unwrap();
        let Some(name) = name.strip_suffix(".py") else { continue };
        assert!(tests.contains(&format!("(\"{name}\"")), "nothing runs tests/parity/{name}.py");
    }
}
