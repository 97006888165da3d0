//! The table of hostile cases: each kind of attack with the tests that show
//! what comes of it. A test that is gone or renamed fails this one.

use std::collections::BTreeMap;

use super::cases::Cases;

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
    (
        "A12",
        "hostile names",
        &[
            "names_are_escaped_and_cut",
            "guest_names_reach_no_terminal_raw",
            "arguments_are_escaped_and_cut_in_messages",
        ],
    ),
    (
        "A13",
        "time bomb for the compiler",
        &[
            "bombs_for_the_compiler_end_at_its_clock",
            "a_compile_worker_killed_by_others_is_started_once_more",
            "a_refused_module_is_not_compiled_again_under_the_same_options",
        ],
    ),
    (
        "A14",
        "memory bomb for the compiler",
        &["modules_beyond_measure_are_refused_before_they_are_compiled", "bombs_for_the_compiler_end_at_its_clock"],
    ),
    (
        "A18",
        "large memories and tables",
        &["modules_beyond_measure_are_refused_before_they_are_compiled", "components_of_any_shape_run_or_are_refused"],
    ),
    ("A20", "proposals that are off", &["proposals_that_are_off_are_named", "each_feature_that_is_off_names_its_flag"]),
    ("A21", "hostile start function", &["start_functions_are_code_of_the_guest"]),
    ("A23", "alternating modules", &["modules_that_alternate_are_found_compiled"]),
    (
        "B01",
        "endless loop",
        &[
            "endless_loops_are_timeouts",
            "an_item_over_its_time_is_the_only_one_that_times_out",
            "components_that_run_wild_cost_their_item",
        ],
    ),
    (
        "B03",
        "endless recursion",
        &["endless_recursion_costs_its_item_and_no_worker", "components_that_run_wild_cost_their_item"],
    ),
    (
        "B05",
        "all of the memory",
        &[
            "memory_ends_at_its_limit",
            "memories_and_tables_count_together",
            "memories_of_all_instances_count_together",
            "components_that_run_wild_cost_their_item",
        ],
    ),
    (
        "B06",
        "memory without end",
        &[
            "memory_ends_at_its_limit",
            "tables_count_as_memory",
            "components_that_run_wild_cost_their_item",
            "resources_of_components_are_bounded",
        ],
    ),
    (
        "B08",
        "access out of bounds",
        &["what_traps_costs_its_item_and_no_worker", "components_that_run_wild_cost_their_item"],
    ),
    (
        "B09",
        "bad indirect calls",
        &["what_traps_costs_its_item_and_no_worker", "components_that_run_wild_cost_their_item"],
    ),
    ("B10", "bad arithmetic", &["what_traps_costs_its_item_and_no_worker", "components_that_run_wild_cost_their_item"]),
    ("B11", "traps among ten thousand", &["output_is_the_same_whatever_the_workers"]),
    (
        "B12",
        "state of an earlier task",
        &["each_task_starts_clean", "memory_and_tables_start_clean_in_fresh_instances"],
    ),
    (
        "B13",
        "hostile initializer",
        &["initializers_that_run_wild_end_the_start", "a_worker_that_lies_about_a_snapshot_ends_the_run"],
    ),
    ("C01", "an hour's sleep", &["sleeping_is_no_way_around_the_clock", "components_cannot_sleep_around_the_clock"]),
    (
        "C02",
        "odd subscriptions",
        &["odd_subscriptions_are_errors_of_the_guest", "components_cannot_sleep_around_the_clock"],
    ),
    ("C04", "the host's input", &["the_hosts_input_is_not_the_guests", "streams_of_components_are_bounded"]),
    (
        "C05",
        "floods of output",
        &["floods_keep_their_tails_only", "a_stdout_flood_ends_a_command_at_once", "streams_of_components_are_bounded"],
    ),
    ("C06", "odd vectors", &["odd_vectors_are_errors_of_the_guest", "streams_of_components_are_bounded"]),
    ("C08", "forged lines", &["text_of_guests_cannot_forge_lines", "streams_of_components_are_bounded"]),
    (
        "C11",
        "files of the host",
        &[
            "without_grants_there_is_no_file",
            "a_read_only_directory_cannot_be_changed_or_left",
            "a_directory_is_read_only_for_components_too",
            "a_granted_directory_cannot_be_left_whatever_is_in_it",
        ],
    ),
    ("C12", "environment of the host", &["the_hosts_environment_is_not_the_guests", "components_ask_in_vain"]),
    ("C15", "exits", &["exits_keep_their_codes", "exit_codes_are_kept_whole", "components_ask_in_vain"]),
    (
        "C18",
        "allocators that lie",
        &["allocators_that_lie_cost_their_item", "components_that_lie_in_passing_values_cost_their_item"],
    ),
    ("C19", "folders in folders without end", &["folders_in_folders_without_end_cost_no_host_and_no_item"]),
    (
        "C20",
        "names and single bytes without end",
        &["names_and_bytes_in_many_places_end_at_the_limit_of_what_is_written", "writes_end_at_their_limit"],
    ),
    (
        "C21",
        "links where the host reads",
        &[
            "a_link_in_the_place_of_an_item_is_not_read_out_of_its_directory",
            "no_link_in_a_writable_directory_leads_out_of_it",
        ],
    ),
    ("C22", "links where the host writes", &["what_a_run_writes_is_never_where_its_tasks_write"]),
    (
        "D01",
        "results outside of memory",
        &["results_outside_of_memory_are_bad_output", "values_of_components_are_checked"],
    ),
    (
        "D02",
        "results that are no JSON",
        &[
            "results_that_are_no_json_are_bad_output",
            "deep_json_from_a_guest_does_not_overflow_the_host",
            "components_that_lie_in_passing_values_cost_their_item",
        ],
    ),
    (
        "D03",
        "results over their limit",
        &["results_end_at_their_limit", "components_that_lie_in_passing_values_cost_their_item"],
    ),
    ("D04", "results of several lines", &["a_result_is_one_line"]),
    (
        "D05",
        "odd input",
        &[
            "input_of_any_form_has_its_documented_end",
            "a_stream_that_breaks_off_keeps_what_was_done",
            "streams_of_any_length_take_little_memory",
        ],
    ),
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
            "descriptors_get_no_owner_to_signal_whatever_is_granted",
            "only_the_listed_kinds_of_sockets_and_options_are_there",
            "every_listed_system_call_is_allowed",
            "every_system_call_that_is_not_listed_is_death_in_an_initializer",
            "starting_connecting_and_opening_are_death_in_an_initializer",
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
    (
        "F05",
        "odd options",
        &[
            "odd_options_are_wrong_usage",
            "arguments_are_escaped_and_cut_in_messages",
            "names_of_modules_may_be_anything",
        ],
    ),
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
            "what_was_changed_in_the_cache_is_compiled_anew",
            "a_full_cache_is_done_without",
        ],
    ),
    (
        "N01",
        "addresses and names that were not granted",
        &[
            "granted_addresses_are_reached_and_no_others",
            "binding_and_listening_are_for_granted_addresses",
            "datagrams_go_to_granted_addresses_and_come_back",
            "names_are_resolved_by_the_host_and_only_those_granted",
            "native_code_connects_to_granted_ports_only",
        ],
    ),
    (
        "N02",
        "sockets without end, and peers that do not read",
        &[
            "thousands_of_sockets_end_at_a_bound_and_cost_nobody_else",
            "sockets_left_open_are_closed_before_the_next_task",
            "a_peer_that_does_not_read_costs_one_timeout",
        ],
    ),
    (
        "N03",
        "clients that hang up, idle, drip, do not read, or are too many",
        &[
            "a_thousand_connections_are_served_though_some_hang_up_or_idle",
            "a_client_that_hangs_up_costs_no_worker",
            "a_client_that_does_not_read_or_drips_is_thrown_out_alone",
            "more_clients_than_descriptors_are_all_served",
            "a_killed_worker_costs_only_its_connection",
        ],
    ),
    (
        "S01",
        "locks of tasks that end badly",
        &[
            "locks_of_tasks_that_end_badly_are_free",
            "a_task_that_ends_with_a_lock_gives_it_back",
            "a_killed_worker_frees_what_its_task_held_and_the_item_is_not_repeated",
            "timeouts_and_cancellations_free_what_was_held",
            "kills_lose_no_acknowledged_increment_and_leave_no_lock",
        ],
    ),
    (
        "S02",
        "floods of queues, logs, progress and handles",
        &[
            "floods_of_shared_objects_end_at_their_bounds",
            "a_flood_of_log_lines_is_cut",
            "a_flood_of_progress_is_thinned",
            "objects_can_be_opened_without_end_but_not_kept",
            "a_queue_is_bounded_in_items_and_bytes_and_its_values_in_size",
        ],
    ),
    (
        "S03",
        "tasks that wait for each other",
        &[
            "tasks_that_wait_for_each_other_end_by_their_limit",
            "who_waits_for_ever_is_ended_by_the_tasks_limit_in_either_mode",
        ],
    ),
    ("S04", "a store over its bounds", &["stores_end_at_their_bounds", "the_number_of_keys_is_bounded"]),
];

/// How many attacks there are at least, each a run of the command.
const ATTACKS: usize = 400;

#[test]
fn the_suite_does_not_shrink() {
    let suite = [
        super::components::allocators(),
        super::components::handles(),
        super::components::numbers(),
        super::components::shapes(),
        super::components::sums(),
        super::components::values(),
        super::edges::caches(),
        super::edges::folders(),
        super::edges::names(),
        super::edges::nasty_arguments(),
        super::edges::options(),
        super::execution::clean(),
        super::execution::loops(),
        super::execution::memory(),
        super::execution::recursion(),
        super::execution::sums(),
        super::execution::traps(),
        super::initializers::wild(),
        super::interfaces::calls(),
        super::interfaces::streams(),
        super::interfaces::waits(),
        super::modules::alternating(),
        super::modules::beyond_measure(),
        super::modules::bombs(),
        super::modules::files(),
        super::modules::misfits(),
        super::modules::names(),
        super::modules::proposals(),
        super::modules::starts(),
        super::shared::dead_locks(),
        super::shared::floods(),
        super::shared::holders(),
        super::shared::stores(),
        super::values::allocators(),
        super::values::documents(),
        super::values::millions(),
        super::values::no_json(),
        super::values::one_line(),
        super::values::outside(),
        super::values::sizes(),
        super::values::streams(),
        super::values::unreadable(),
        super::values::workers(),
        super::wasi::exits(),
        super::wasi::files(),
        super::wasi::floods(),
        super::wasi::forgeries(),
        super::wasi::inputs(),
        super::wasi::sleeps(),
        super::wasi::subscriptions(),
        super::wasi::surroundings(),
        super::wasi::vectors(),
    ];
    let mut rows: BTreeMap<&str, usize> = BTreeMap::new();
    for row in suite.iter().flat_map(Cases::rows) {
        assert!(ROWS.iter().any(|(id, ..)| *id == row), "no row {row}");
        *rows.entry(row).or_default() += 1;
    }
    let count: usize = rows.values().sum();
    let list: Vec<_> = rows.iter().map(|(row, count)| format!("{row} {count}")).collect();
    crate::support::told(&format!("hostile suite: {count} attacks through the command ({})", list.join(", ")));
    assert!(count >= ATTACKS, "{count} attacks");
}

#[test]
fn each_attack_of_the_table_has_its_tests() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut all = String::new();
    crate::support::sources(&root.join("host"), &mut all);
    crate::support::sources(&root.join("tests"), &mut all);
    for (id, attack, tests) in ROWS {
        assert!(!tests.is_empty(), "{id}: {attack}");
        for test in *tests {
            assert!(all.contains(&format!("fn {test}()")), "{id}: no test {test}");
        }
    }
    assert!(ROWS.is_sorted_by_key(|row| row.0), "the table is in order");
}
