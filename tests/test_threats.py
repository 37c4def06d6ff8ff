"""Which tests show that a threat of RELIABILITY's third section is answered; each of them exists."""

from __future__ import annotations

import ast
from functools import cache
from pathlib import Path

import pytest

TESTS = Path(__file__).parent
SHOWN_BY = {
    "T1 guessed keys, SQL in keys": (
        "test_auth.py::test_any_other_key_is_a_401_that_repeats_nothing",
        "test_auth.py::test_keys_with_an_equal_prefix_or_suffix_never_share_an_identity",
        "test_guesses.py::test_guesser_is_told_to_wait_and_everybody_else_is_served",
    ),
    "T2 smuggled requests": (
        "server/test_http_rules.py::test_malformed_request_is_refused_however_it_is_cut",
        "server/test_differential.py::test_what_the_front_accepts_is_read_alike_by_another_parser",
        "server/test_fuzz.py::test_front_survives_hostile_bytes",
    ),
    "T3 slow clients": (
        "server/test_connections.py::test_slow_clients_are_cut_off",
        "server/test_connections.py::test_head_that_drips_is_cut_off",
        "server/test_connections.py::test_client_that_takes_nothing_is_cut_off_and_the_upstream_with_it",
    ),
    "T4 huge, endless, compressed bodies": (
        "server/test_http_rules.py::test_chunked_body_above_the_limit_is_refused_while_it_is_read",
        "server/test_json_rules.py::test_memory_returns_after_large_bodies",
        "server/test_connections.py::test_bodies_in_flight_are_bounded",
    ),
    "T5 hostile JSON": (
        "wire/test_json.py::test_any_bytes_are_an_object_or_invalid_json",
        "server/test_json_rules.py::test_what_decoders_read_differently_is_refused_on_every_route",
        "server/test_fuzz.py::test_decoder_survives_hostile_json",
    ),
    "T6 fields that steer the gateway": (
        "server/test_json_rules.py::test_field_that_would_steer_the_gateway_is_refused",
        "server/test_json_rules.py::test_caller_s_headers_stay_here",
        "server/test_json_rules.py::test_model_is_a_name_of_our_table",
        "server/test_reaches_out_to_nobody.py::test_no_endpoint_starts_a_process_or_calls_anybody",
    ),
    "T7 addresses that we would fetch": (
        "server/test_reaches_out_to_nobody.py::test_no_address_in_a_request_is_ever_fetched",
    ),
    "T8 line ends in headers, logs and labels": (
        "server/test_http_rules.py::test_nothing_a_caller_writes_becomes_a_header",
        "test_logs.py::test_text_from_outside_begins_no_line_of_its_own",
        "record/test_metrics.py::test_any_name_is_a_label_that_comes_back",
    ),
    "T9 past limits and budgets": (
        "money/test_budgets_served.py::test_64_calls_at_once_on_a_budget_for_five",
        "leasing/test_limits_shared.py::test_fifty_requests_a_minute_of_five_hundred_at_once",
        "leasing/test_clock_jumps.py::test_a_minute_is_one_minute_whatever_one_machine_s_clock_does",
        "leasing/test_budget_bound.py::test_money_spent_stays_within_the_bound_and_the_ledger_is_exact",
    ),
    "T10 leaving to dodge the bill": (
        "upstream/test_disconnects.py::test_each_of_a_thousand_leavers_is_recorded_once",
        "upstream/test_disconnects.py::test_upstream_is_let_go_when_the_client_leaves_before_the_first_byte",
    ),
    "T11 rights": (
        "management/test_rights.py::test_every_endpoint",
        "management/test_rights.py::test_every_field_of_every_endpoint",
        "management/test_rights.py::test_no_key_is_wider_than_its_maker_s",
    ),
    "T12 prompts that choose a dear model": (
        "routing/test_decide.py::test_any_text_goes_to_an_allowed_candidate",
        "routing/test_decide.py::test_only_allowed_candidates_are_ordered",
    ),
    "T13 features that blow up": (
        "routing/test_hashed.py::test_grams_are_bounded_by_the_bytes_read",
        "routing/test_hashed.py::test_hostile_text_gives_a_finite_vector_of_the_usual_size",
    ),
    "T14 hostile router files": (
        "routing/test_artefact.py::test_a_pickle_is_not_executed",
        "routing/test_artefact.py::test_a_thousand_corrupted_files_are_refused_and_the_old_router_stays",
        "test_reload.py::test_what_is_no_router_file_is_refused",
        "test_reload.py::test_where_keys_are_named_only_files_that_they_signed_are_taken",
    ),
    "T15 hostile upstreams": (
        "upstream/test_faults.py::test_hostile_http_is_a_failed_upstream",
        "upstream/test_faults.py::test_endless_upstream_is_cut_off",
        "upstream/test_faults.py::test_false_usage_is_replaced_by_our_own_count",
        "upstream/test_faults.py::test_mutated_answers_never_break_the_gateway",
    ),
    "T16 secrets in an upstream's words": (
        "test_secrets.py::test_upstream_s_words_carry_no_secret_out",
        "upstream/test_faults.py::test_refused_credential_is_our_fault_and_stays_secret",
    ),
    "T17 secrets in what is written": (
        "test_secrets.py::test_nothing_written_so_far_holds_a_secret",
        "test_secrets.py::test_page_shows_no_secret",
        "test_logs.py::test_no_credential_is_written",
    ),
    "T18 pages": (
        "admin/test_pages_sessions.py::test_cookie_and_pages_are_kept_from_other_sites",
        "admin/test_pages_sessions.py::test_write_needs_the_page_s_own_token",
        "admin/test_pages_sessions.py::test_session_ends_in_every_worker",
        "admin/test_pages_in_chromium.py::test_kept_prompt_and_answer_are_shown_as_text_and_others_are_not",
    ),
    "T19 stolen releases": (
        "test_locked.py::test_every_requirement_has_one_version_and_hashes",
        "test_locked.py::test_every_install_of_ours_asks_for_the_hashes",
        "test_locked.py::test_nothing_of_ours_runs_at_install_or_before_it_is_imported",
    ),
    "T20 unbounded series": (
        "record/test_metrics.py::test_names_that_callers_write_make_no_series",
        "record/test_metrics.py::test_series_have_a_cap_whatever_is_configured",
    ),
    "T21 another's answer from the cache": (
        "caching/test_cache_served.py::test_no_key_is_answered_with_what_another_was_told",
        "caching/test_cache_served.py::test_whatever_an_answer_depends_on_makes_another_request",
    ),
    "T22 another's answer by its idempotency key": (
        "media/test_pass_through.py::test_idempotency_key_is_its_caller_s_own",
    ),
}


@cache
def names_in(file: str) -> frozenset[str]:
    tree = ast.parse((TESTS / file).read_text("utf-8"))
    return frozenset(node.name for node in tree.body if isinstance(node, ast.FunctionDef))


@pytest.mark.parametrize("threat", SHOWN_BY)
def test_what_is_said_to_show_it_exists(threat: str) -> None:
    for each in SHOWN_BY[threat]:
        file, _, name = each.partition("::")
        assert name in names_in(file), each
