//! The table of hostile cases: each kind of attack with the tests that show
//! what comes of it. A test that is gone or renamed fails this one.

/// An attack, and the tests of it.
const ROWS: &[(&str, &str, &[&str])] = &[
    ("A01", "empty file", &["files_that_are_no_modules_are_refused"]),
    ("A02", "cut short", &["files_that_are_no_modules_are_refused", "a_truncated_module_is_refused"]),
    (
        "A03",
        "random bytes",
        &["files_that_are_no_modules_are_refused", "random_modules_have_an_outcome_and_the_same_again"],
    ),
    ("A04", "text", &["files_that_are_no_modules_are_refused", "text_is_taken_whatever_its_name_is"]),
    ("A05", "another kind than --abi", &["modules_that_do_not_fit_are_refused"]),
    ("A09", "unknown imports", &["modules_that_do_not_fit_are_refused", "an_unknown_import_is_refused_by_name"]),
    ("A11", "no such function", &["modules_that_do_not_fit_are_refused"]),
    ("A12", "hostile names", &["names_are_escaped_and_cut", "guest_names_reach_no_terminal_raw"]),
    ("A13", "time bomb for the compiler", &["bombs_for_the_compiler_end_at_its_clock"]),
    ("A14", "memory bomb for the compiler", &["modules_beyond_measure_are_refused_before_they_are_compiled"]),
    ("A18", "large memories and tables", &["modules_beyond_measure_are_refused_before_they_are_compiled"]),
    ("A20", "proposals that are off", &["proposals_that_are_off_are_named", "each_feature_that_is_off_names_its_flag"]),
    ("A21", "hostile start function", &["start_functions_are_code_of_the_guest"]),
    ("A23", "alternating modules", &["modules_that_alternate_are_found_compiled"]),
    ("B01", "endless loop", &["endless_loops_are_timeouts", "an_item_over_its_time_is_the_only_one_that_times_out"]),
    ("B03", "endless recursion", &["endless_recursion_costs_its_item_and_no_worker"]),
    ("B05", "all of the memory", &["memory_ends_at_its_limit"]),
    ("B06", "memory without end", &["memory_ends_at_its_limit", "tables_count_as_memory"]),
    ("B08", "access out of bounds", &["what_traps_costs_its_item_and_no_worker"]),
    ("B09", "bad indirect calls", &["what_traps_costs_its_item_and_no_worker"]),
    ("B10", "bad arithmetic", &["what_traps_costs_its_item_and_no_worker"]),
    ("B11", "traps among ten thousand", &["output_is_the_same_whatever_the_workers"]),
    (
        "B12",
        "state of an earlier task",
        &["each_task_starts_clean", "memory_and_tables_start_clean_in_fresh_instances"],
    ),
    ("C01", "an hour's sleep", &["sleeping_is_no_way_around_the_clock"]),
    ("C02", "odd subscriptions", &["odd_subscriptions_are_errors_of_the_guest"]),
    ("C04", "the host's input", &["the_hosts_input_is_not_the_guests"]),
    ("C05", "floods of output", &["floods_keep_their_tails_only", "a_stdout_flood_ends_a_command_at_once"]),
    ("C06", "odd vectors", &["odd_vectors_are_errors_of_the_guest"]),
    ("C08", "forged lines", &["text_of_guests_cannot_forge_lines"]),
    (
        "C11",
        "files of the host",
        &["without_grants_there_is_no_file", "a_read_only_directory_cannot_be_changed_or_left"],
    ),
    ("C12", "environment of the host", &["the_hosts_environment_is_not_the_guests"]),
    ("C15", "exits", &["exits_keep_their_codes", "exit_codes_are_kept_whole"]),
    ("C18", "allocators that lie", &["allocators_that_lie_cost_their_item"]),
    ("D01", "results outside of memory", &["results_outside_of_memory_are_bad_output"]),
    (
        "D02",
        "results that are no JSON",
        &["results_that_are_no_json_are_bad_output", "deep_json_from_a_guest_does_not_overflow_the_host"],
    ),
    ("D03", "results over their limit", &["results_end_at_their_limit"]),
    ("D04", "results of several lines", &["a_result_is_one_line"]),
    ("D05", "odd input", &["input_of_any_form_has_its_documented_end", "a_stream_that_breaks_off_keeps_what_was_done"]),
    ("D06", "unreadable input", &["input_that_cannot_be_read_is_told"]),
    ("D07", "a million items", &["a_million_tiny_items_are_in_order_within_bounds"]),
    ("D10", "any number of workers", &["output_is_the_same_whatever_the_workers"]),
    (
        "E01",
        "killed workers",
        &[
            "killed_workers_cost_nothing_but_time",
            "kills_lose_nothing_of_a_run_but_items_hit_twice",
            "output_is_byte_identical_where_lost_items_are_tried_again",
        ],
    ),
    ("E02", "a stopped worker", &["a_stopped_worker_is_a_timeout", "stalls_are_timeouts"]),
    ("E04", "a killed host", &["a_killed_host_leaves_no_worker", "hosts_killed_at_random_moments_leave_no_worker"]),
    (
        "E05",
        "signals",
        &[
            "the_first_signal_keeps_what_is_done",
            "the_second_signal_kills_what_runs",
            "a_stopped_host_goes_on",
            "signals_end_a_run_with_their_code_and_whole_lines",
            "ctrl_z_stops_workers_and_clocks_and_fg_goes_on",
        ],
    ),
    (
        "E07",
        "a worker that lies",
        &[
            "protocol_lies_are_crashes",
            "stalls_are_timeouts",
            "forged_times_are_clamped",
            "a_worker_of_another_version_is_refused",
        ],
    ),
    (
        "E08",
        "native code in a worker",
        &[
            "every_system_call_that_is_not_listed_is_death",
            "listed_system_calls_with_other_arguments_are_death",
            "starting_connecting_and_opening_are_death",
            "every_listed_system_call_is_allowed",
        ],
    ),
    (
        "E10",
        "workers that do not start",
        &[
            "a_worker_that_never_starts_breaks_the_pool_with_its_last_words",
            "without_a_required_layer_enforce_refuses_and_names_it",
            "a_binary_that_is_removed_or_replaced_goes_on",
            "a_binary_that_may_no_longer_be_executed_breaks_the_pool",
        ],
    ),
    (
        "E11",
        "items that kill workers",
        &["a_worker_that_dies_twice_costs_its_item", "items_that_all_kill_their_workers_are_all_named"],
    ),
    ("F01", "a closed pipe", &["a_closed_stdout_ends_quietly", "a_reader_of_results_may_leave_at_any_moment"]),
    (
        "F02",
        "a full disk",
        &[
            "a_full_disk_is_an_error_and_no_file",
            "a_full_disk_leaves_no_file_that_looks_whole",
            "files_of_items_are_whole_or_not_there_on_a_full_disk",
            "a_limit_on_the_size_of_files_is_a_write_error",
        ],
    ),
    ("F05", "odd options", &["odd_options_are_wrong_usage"]),
    (
        "F06",
        "a cache that others reach",
        &[
            "a_cache_that_is_no_private_folder_is_not_used",
            "a_shared_cache_is_not_used_and_that_is_said",
            "a_flipped_bit_anywhere_is_a_miss",
            "an_entry_of_another_module_is_a_miss",
            "an_entry_of_another_version_is_a_miss",
            "linked_or_shared_files_are_a_miss",
        ],
    ),
];

/// The text of all sources below a folder.
fn sources(folder: &std::path::Path, all: &mut String) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, all);
        } else if path.extension().is_some_and(|end| end == "rs") {
            all.push_str(&std::fs::read_to_string(path).unwrap());
        }
    }
}

#[test]
fn each_attack_of_the_table_has_its_tests() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut all = String::new();
    sources(&root.join("host"), &mut all);
    sources(&root.join("tests"), &mut all);
    for (id, attack, tests) in ROWS {
        assert!(!tests.is_empty(), "{id}: {attack}");
        for test in *tests {
            assert!(all.contains(&format!("fn {test}()")), "{id}: no test {test}");
        }
    }
    assert!(ROWS.is_sorted_by_key(|row| row.0), "the table is in order");
}
