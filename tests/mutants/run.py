"""Break the package on purpose: each patch of this folder must turn its tests red.

    python tests/mutants/run.py               every check
    python tests/mutants/run.py ddmp_04 dtm   some checks, all of one method
    python tests/mutants/run.py -j 1          one at a time

A patch is applied to a copy of the package in a temporary folder, and the tests of the
table run against the copy. First they run against an unbroken copy: a test that is red
anyway proves nothing. The exit status is 1 if a test stays green under its patch, a
patch does not apply, or a test is missing.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from xml.etree import ElementTree

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
COPIED = ("sklabeldiff", "tests", "pyproject.toml")
THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")

GRAPH = "tests/core/test_graph.py"
KERNELS = "tests/core/test_kernels.py"
PROCESS = "tests/core/test_process.py"
TRANSITIONS = "tests/core/test_transitions.py"
DIFFUSION = "tests/core/test_label_diffusion.py"
DENOISERS = "tests/core/test_denoisers.py"
DDMP = "tests/test_ddmp.py"
WEIGHTS = "tests/core/test_transition_weights.py"
TABLE = "tests/core/test_transition_table.py"
SCHEDULES = "tests/core/test_schedules.py"
GROUPS = "tests/core/test_group_transitions.py"
FORWARD = "tests/core/test_noisy_classifier.py"
WATCHED = "tests/core/test_noisy_training.py"
MATRICES = "tests/core/test_transition_diffusion.py"
NOISE = "tests/test_noise.py"
DTM = "tests/test_dtm.py"
DMIS = "tests/test_dmis.py"
FEATURES = "tests/features"
LEVELS = "tests/core/test_noise_levels.py"
EDM = "tests/core/test_edm.py"
CLASSES = "tests/core/test_class_diffusion.py"
IMPRECISE = "tests/core/test_imprecise.py"
IMPRECISE_TRAINING = "tests/core/test_imprecise_training.py"
TRAINING = "tests/core/test_training.py"
LOSSES = "tests/core/test_candidate_losses.py"
ALIGNMENT = "tests/core/test_alignment.py"
GATES = "tests/core/test_class_gates.py"
SPECIFIC = "tests/core/test_class_specific_training.py"
CAD = "tests/test_cad.py"
SPARSE = "tests/core/test_sparse_transitions.py"
ASKED = "tests/core/test_asked_classes.py"
TOGETHER = "tests/distributed/test_data_parallel.py"
SHARDING = "tests/features/test_sharding.py"
NEIGHBORS = "tests/test_neighbors.py"
ROWS = "tests/test_large_rows.py"
MANY = "tests/test_many_classes.py"
LISTS = "tests/core/test_lists.py"

# Patch -> tests that must fail under it, each by itself. The name says the method and
# the check of its page; "big" is what docs/big.rst promises.
MUTANTS = {
    "big_01_last_of_equals": [
        f"{LISTS}::test_best_is_the_first_of_equals",
    ],
    "big_01_lost_background": [
        f"{LISTS}::test_set_transition_is_that_of_a_table",
    ],
    "big_01_diagonal_counts": [
        f"{LISTS}::test_log_likelihood_is_that_of_a_table",
    ],
    "big_01_block_offset": [
        f"{LISTS}::test_graph_beliefs_are_those_of_a_table",
    ],
    "big_01_own_label_seen": [
        f"{LISTS}::test_kernel_beliefs_are_those_of_a_table",
    ],
    "big_01_unscaled_start": [
        f"{LISTS}::test_scaled_chain_ends_in_labels_of_their_own_unit",
    ],
    "big_01_stored_zeros": [
        f"{MANY}::test_sparse_output_is_the_dense_one",
    ],
    "big_02_mask_for_numbers": [
        f"{ROWS}::test_streamed_rows_are_those_of_a_tensor",
    ],
    "big_02_first_block_again": [
        f"{ROWS}::test_streamed_rows_are_those_of_a_tensor",
    ],
    "big_02_ids_from_zero": [
        f"{NEIGHBORS}::TestFiles::test_lists_in_files_give_what_lists_in_memory_give",
    ],
    "big_02_first_file_wins": [
        f"{NEIGHBORS}::TestFiles::test_lists_in_files_give_what_lists_in_memory_give",
    ],
    "big_02_row_beside_itself": [
        f"{NEIGHBORS}::TestGraphs::test_distances_of_the_user_are_taken",
    ],
    "big_03_lost_rows": [
        f"{SHARDING}::test_two_workers_give_the_bits_of_one",
    ],
    "big_03_sums_for_means": [
        f"{TOGETHER}::test_an_update_of_two_is_an_update_of_one",
    ],
    "big_03_same_noise": [
        f"{TOGETHER}::test_noise_is_drawn_by_each",
    ],
    "big_04_no_stand_in": [
        f"{ASKED}::test_classes_by_chance_stand_for_those_that_are_not_asked",
    ],
    "big_04_prior_forgotten": [
        f"{SPARSE}::test_rows_that_are_not_kept_explain_their_part",
    ],
    "cad_10_far_from_zero": [
        f"{GATES}::TestContribution::test_what_counts_is_the_distance_from_the_mean",
    ],
    "cad_03_views_swapped": [
        f"{SPECIFIC}::TestLoss::test_each_view_is_made_for_its_use",
    ],
    "cad_14_other_parameters": [
        f"{CAD}::test_checkpoint_of_other_parameters_is_not_used",
    ],
    "cad_01_shares_of_all": [
        f"{LOSSES}::TestConfidence::test_each_side_sums_to_one",
        f"{LOSSES}::TestConfidence::test_shares_are_ratios_of_the_softmax",
    ],
    "cad_01_teacher_learns": [
        f"{SPECIFIC}::TestLoss::test_teacher_learns_nothing_by_gradients",
    ],
    "cad_02_no_penalty": [
        f"{LOSSES}::TestAdjustedLoss::test_case_by_hand",
        f"{LOSSES}::TestAdjustedLoss::test_surest_of_the_others_is_pushed_down_harder_than_by_the_set",
    ],
    "cad_03_subtracted": [
        f"{LOSSES}::TestAdjustedLoss::test_complement_is_exact_where_one_class_has_all",
        f"{LOSSES}::TestAdjustedLoss::test_gradient_is_finite_and_does_not_vanish_on_the_wrong",
    ],
    "cad_03_ratio": [
        f"{LOSSES}::TestConfidence::test_hopeless_candidates_share_what_they_have",
    ],
    "cad_04_no_factor": [
        f"{ALIGNMENT}::TestAlignment::test_distinct_classes_leave_the_own_key",
    ],
    "cad_04_compared_with_itself": [
        f"{ALIGNMENT}::TestAlignment::test_distinct_classes_leave_the_own_key",
        f"{ALIGNMENT}::TestAlignment::test_loss_is_that_of_the_page_entry_by_entry",
    ],
    "cad_05_even_weights": [
        f"{ALIGNMENT}::TestAlignment::test_weights_grow_with_the_cosine_and_sum_to_one",
    ],
    "cad_05_column_sums": [
        f"{ALIGNMENT}::TestAlignment::test_weights_grow_with_the_cosine_and_sum_to_one",
    ],
    "cad_06_first_kept": [
        f"{ALIGNMENT}::TestQueue::test_the_last_of_too_many_are_kept",
    ],
    "cad_06_no_wrap": [
        f"{ALIGNMENT}::TestQueue::test_the_oldest_keys_go_first",
    ],
    "cad_07_other_statistics": [
        f"{SPECIFIC}::TestTeacher::test_its_batch_norms_gather_by_themselves",
    ],
    "cad_07_share_swapped": [
        f"{SPECIFIC}::TestTeacher::test_it_forgets_at_the_stated_rate",
    ],
    "cad_08_contrast_of_weight_0": [
        f"{SPECIFIC}::TestRuns::test_without_contrast_nothing_of_it_matters",
    ],
    "cad_08_gates_stay_shut": [
        f"{GATES}::TestVersions::test_open_gates_leave_rows_as_they_are",
        f"{SPECIFIC}::TestRuns::test_open_gates_are_no_gates",
    ],
    "cad_09_mass_of_one": [
        "tests/test_datasets.py::TestMakeCandidateSets::test_instance_frequency_follows_equation_4",
    ],
    "cad_10_not_normalised": [
        f"{GATES}::TestContribution::test_linear_network_is_gated_by_its_weights",
        f"{GATES}::TestActivation::test_largest_is_one_at_any_size",
    ],
    "cad_10_signs_lost": [
        f"{GATES}::TestContribution::test_linear_network_is_gated_by_its_weights",
    ],
    "cad_10_shut_gates": [
        f"{GATES}::TestContribution::test_gate_is_open_where_nothing_speaks_for_the_class",
        f"{GATES}::TestActivation::test_gate_is_open_where_nothing_speaks_for_the_class",
    ],
    "cad_11_labels_of_others": [
        f"{CAD}::test_singletons_are_learnt_as_by_a_supervised_network",
    ],
    "cad_12_sharpened": [
        f"{CAD}::test_full_sets_alone_teach_nothing",
    ],
    "cad_13_number_of_the_class": [
        f"{SPECIFIC}::TestVersions::test_ready_ones_are_found_by_their_number",
        f"{SPECIFIC}::TestPairs::test_all_candidates_row_by_row",
    ],
    "cad_14_global_stream": [
        f"{CAD}::TestContract::test_same_seed_same_model",
    ],
    "cad_14_forgotten_queue": [
        f"{SPECIFIC}::TestRuns::test_it_goes_on_from_its_state_bit_for_bit",
        f"{CAD}::test_stopped_fit_goes_on_to_the_same_model",
    ],
    "cad_15_even_confidence": [
        f"{CAD}::test_parts_of_the_loss_on_ambiguous_digits",
    ],
    "cad_16_pairs_of_one_class": [
        "tests/metrics/test_entangled.py::TestEntangledSubset::test_hand_worked",
    ],
    "ddmp_01_mass_off_candidates": [
        f"{GRAPH}::test_beliefs_are_distributions_over_candidates",
        f"{GRAPH}::test_single_candidates_stay_one_hot",
    ],
    "ddmp_02_own_neighbour": [f"{GRAPH}::test_no_row_is_its_own_neighbour"],
    "ddmp_03_class_order": [
        f"{GRAPH}::test_relabelling_classes_permutes_the_beliefs",
    ],
    "ddmp_04_square_root_coefficient": [
        f"{PROCESS}::test_marginal_equals_iterated_steps",
    ],
    "ddmp_05_posterior_weight": [
        f"{PROCESS}::test_posterior_is_the_gaussian_product",
        f"{PROCESS}::test_posterior_weights_sum_to_one",
    ],
    "ddmp_06_noise_without_root": [
        f"{PROCESS}::test_draws_have_the_moments_of_the_marginal",
    ],
    "ddmp_07_training_mode": [
        f"{DIFFUSION}::test_any_batch_split_gives_the_same_answer",
    ],
    "ddmp_07_gate_lost_in_evaluation": [
        f"{DENOISERS}::test_step_gate_scales_by_the_row_of_the_step_and_normalises",
    ],
    "ddmp_08_clean_state": [
        f"{PROCESS}::test_ddim_with_the_true_noise_returns_the_clean_state",
    ],
    "ddmp_09_loss_sum": [f"{DIFFUSION}::test_network_that_returns_zero_has_loss_one"],
    "ddmp_10_free_diagonal": [
        f"{TRANSITIONS}::test_set_transition_finds_the_flip_rate"
    ],
    "ddmp_10_row_prior": [
        f"{TRANSITIONS}::"
        "test_row_transition_is_stochastic_and_dominated_by_its_diagonal",
    ],
    "ddmp_10_unlabelled_rows_count": [
        f"{TRANSITIONS}::test_rows_that_may_be_any_class_say_nothing",
    ],
    "ddmp_11_wrong_inverse": [
        f"{TRANSITIONS}::test_inverse_says_nothing_under_uniform_flips",
    ],
    "ddmp_12_refresh_forgets": [
        f"{TRANSITIONS}::"
        "test_refresh_without_model_or_transition_keeps_the_best_candidate",
    ],
    "ddmp_13_transposed_transition": [
        f"{TRANSITIONS}::test_reweighting_resolves_class_dependent_flips",
    ],
    "ddmp_13_free_passes_without_sets": [
        f"{KERNELS}::test_free_passes_weigh_answers_by_the_likelihood_of_the_sets",
        f"{KERNELS}::test_trust_in_the_transition_resolves_confused_pairs",
    ],
    "ddmp_14_contrary_refresh": [f"{DDMP}::test_gated_refresh_does_not_hurt"],
    "ddmp_15_early_refresh": [
        f"{DIFFUSION}::test_plan_refreshes_only_after_half_of_the_epochs",
        f"{DIFFUSION}::test_refreshes_wait_for_half_of_the_epochs",
    ],
    "ddmp_15_no_agreement_guard": [
        f"{DIFFUSION}::test_model_that_contradicts_a_tenth_refreshes_nothing",
    ],
    "ddmp_15_no_collapse_guard": [
        f"{TRANSITIONS}::test_emptied_class_is_a_collapse",
        f"{DIFFUSION}::test_refresh_that_empties_a_class_is_dropped_and_ends_refreshes",
    ],
    "ddmp_16_farthest_class": [f"{DDMP}::test_digits_accuracy"],
    "ddmp_17_uniform_beliefs": [f"{DDMP}::test_beats_uniform_beliefs"],
    "ddmp_18_inverted_target": [f"{DDMP}::test_singletons_reduce_to_supervision"],
    "ddmp_19_not_normalised": [
        f"{DDMP}::test_proba_rows_sum_to_one_and_fits_repeat",
    ],
    "ddmp_20_square_table": [f"{GRAPH}::test_peak_memory_has_no_square_table"],
    "dtm_01_column_sums": [
        f"{WEIGHTS}::test_rows_sum_to_one_and_the_diagonal_wins",
    ],
    "dtm_02_lost_unit": [f"{WEIGHTS}::test_there_and_back_is_the_identity"],
    "dtm_03_first_weight": [
        f"{WEIGHTS}::test_first_weights_keep_half",
        f"{WEIGHTS}::test_first_weights_in_the_papers_form",
    ],
    "dtm_04_matrix_does_not_learn": [
        f"{WATCHED}::test_volume_minimisation_finds_the_matrix",
    ],
    "dtm_04_volume_grows": [
        f"{WATCHED}::test_volume_falls_where_the_labels_do_not_care",
        f"{FORWARD}::test_volume_is_the_log_determinant",
    ],
    "dtm_04_idle_penalty": [f"{WATCHED}::test_larger_penalty_leaves_less_volume"],
    "dtm_05_transposed_matrix": [
        f"{WATCHED}::test_true_matrix_recovers_clean_accuracy",
        f"{FORWARD}::test_one_matrix_is_the_same_matrix_in_every_row",
    ],
    "dtm_06_transposed_columns": [
        f"{FORWARD}::test_cached_columns_equal_full_matrices",
    ],
    "dtm_07_fixed_prior": [
        f"{GROUPS}::test_pure_groups_have_their_empirical_confusion",
        f"{GROUPS}::test_prior_rows_pull_to_the_global_matrix",
    ],
    "dtm_08_empty_rows": [f"{GROUPS}::test_rows_without_mass_stay_global"],
    "dtm_09_no_respacing": [
        f"{SCHEDULES}::test_respaced_chain_keeps_the_signal_of_its_steps",
    ],
    "dtm_09_noise_without_root": [
        f"{PROCESS}::test_draws_have_the_moments_of_the_marginal",
    ],
    "dtm_10_variance_for_deviation": [
        f"{PROCESS}::test_random_chain_with_an_oracle",
    ],
    "dtm_11_quiet_last_steps": [
        f"{PROCESS}::test_last_step_of_the_random_chain_adds_no_noise",
    ],
    "dtm_12_lost_component": [f"{TABLE}::test_all_components_lose_nothing"],
    "dtm_13_not_whitened": [
        f"{TABLE}::test_coordinates_are_standardised_over_rows",
        f"{MATRICES}::test_network_that_returns_zero_has_loss_one",
    ],
    "dtm_14_mean_of_weights": [f"{MATRICES}::test_matrices_are_averaged_not_weights"],
    "dtm_15_even_flip_rates": [
        f"{NOISE}::test_parts_flip_at_the_truncated_mean",
    ],
    "dtm_16_minority": [f"{DTM}::test_ranking_at_thirty_per_cent"],
    "dtm_17_no_correction": [f"{DTM}::test_ranking_at_forty_five_per_cent"],
    "dtm_18_idle_regression": [
        f"{MATRICES}::test_trained_draws_explain_the_group_weights",
    ],
    "dtm_19_table_of_matrices": [
        f"{MATRICES}::test_columns_of_many_classes_need_no_table_of_matrices",
    ],
    "dtm_20_class_that_never_occurs": [
        f"{DTM}::test_class_that_never_occurs_is_named",
    ],
    "dmis_01_no_square_of_the_median": [
        f"{LEVELS}::test_tails_outside_of_the_interval_are_of_equal_mass",
        f"{LEVELS}::test_interval_of_the_paper",
    ],
    "dmis_01_ends_for_middles": [
        f"{LEVELS}::test_single_level_is_the_median",
        f"{LEVELS}::test_quantile_grid_halves_parts_of_equal_mass",
    ],
    "dmis_02_inverse_square": [
        f"{LEVELS}::test_elbo_weights_integrate_the_inverse_cube",
        f"{CLASSES}::test_elbo_weighting_recovers_bayes",
    ],
    "dmis_02_mean_of_columns": [
        f"{CLASSES}::test_errors_are_summed_over_columns",
        f"{CLASSES}::test_elbo_weighting_recovers_bayes",
    ],
    "dmis_03_noise_of_each_class": [
        f"{CLASSES}::test_shared_noise_lowers_the_variance_of_differences",
    ],
    "dmis_04_other_scale": [
        f"{EDM}::test_all_errors_begin_at_the_size_of_those_of_the_network",
        f"{EDM}::test_error_of_the_network_is_the_weighted_error_of_the_denoiser",
        f"{CLASSES}::test_loss_of_the_mixture_is_that_of_its_score",
    ],
    "dmis_04_mean_of_losses": [
        f"{IMPRECISE}::test_denoisers_are_mixed_before_they_are_compared",
        f"{IMPRECISE_TRAINING}::test_loss_of_sets_by_hand",
    ],
    "dmis_05_mass_off_candidates": [
        f"{IMPRECISE}::test_beliefs_are_distributions_over_candidates",
        f"{IMPRECISE}::test_labelled_rows_are_one_hot_and_others_as_believed",
    ],
    "dmis_05_teacher_learns": [
        f"{IMPRECISE_TRAINING}::test_teacher_changes_the_loss_but_gets_no_gradient",
    ],
    "dmis_05_own_beliefs": [
        f"{IMPRECISE_TRAINING}::test_teacher_changes_the_loss_but_gets_no_gradient",
        f"{IMPRECISE_TRAINING}::test_loss_of_sets_by_hand",
    ],
    "dmis_05_neighbours_for_ever": [
        f"{IMPRECISE_TRAINING}::test_beliefs_of_the_neighbours_hold_for_the_first_fifth",
    ],
    "dmis_06_pushed_away": [
        f"{IMPRECISE}::test_target_where_teacher_and_label_agree",
    ],
    "dmis_06_not_clamped": [
        f"{IMPRECISE}::test_certain_teacher_leaves_no_nan",
    ],
    "dmis_06_target_learns": [
        f"{IMPRECISE_TRAINING}::test_loss_of_wrong_labels_by_hand",
    ],
    "dmis_07_even_mixture": [
        f"{IMPRECISE}::test_sure_mixture_has_the_loss_of_its_class",
        f"{IMPRECISE_TRAINING}::test_labelled_rows_have_the_loss_of_conditional_diffusion",
    ],
    "dmis_08_class_of_many": [f"{CLASSES}::test_single_class_is_certain"],
    "dmis_09_no_ramp": [
        f"{IMPRECISE}::test_half_life_is_a_share_of_the_updates_so_far",
        f"{IMPRECISE_TRAINING}::test_teacher_is_the_average_of_the_updates",
    ],
    "dmis_09_teacher_left_behind": [
        f"{TRAINING}::test_teacher_follows_every_update",
        f"{TRAINING}::test_teacher_follows_a_restored_training",
        f"{IMPRECISE_TRAINING}::test_teacher_is_the_average_of_the_updates",
    ],
    "dmis_10_first_order": [
        f"{EDM}::test_sampler_asks_twice_a_step_but_once_in_the_last",
        f"{EDM}::test_sampler_recovers_a_gaussian",
        f"{EDM}::test_step_of_the_sampler_by_hand",
    ],
    "dmis_11_blunt_beliefs": [
        f"{IMPRECISE_TRAINING}::test_labels_that_say_nothing_end_in_confident_clusters",
        f"{IMPRECISE_TRAINING}::test_loss_of_sets_by_hand",
    ],
    "dmis_12_one_class_for_all": [
        f"{DMIS}::test_generative_part_alone_learns_the_classes",
    ],
    "dmis_13_mean_of_columns": [f"{DMIS}::test_candidate_sets_of_digits"],
    "dmis_14_label_by_heart": [f"{DMIS}::test_wrong_labels_of_digits"],
    "dmis_15_any_class": [
        f"{DMIS}::test_candidate_sets_of_digits",
        f"{DMIS}::test_generated_rows_stand_in_for_real_ones",
    ],
    "dmis_16_noise_of_each_row": [
        f"{CLASSES}::test_likelihood_of_a_row_does_not_depend_on_the_split",
        f"{CLASSES}::test_likelihood_of_a_row_does_not_depend_on_the_order",
    ],
    "dmis_16_open_block": [
        f"{CLASSES}::test_likelihood_of_a_row_does_not_depend_on_the_split",
    ],
    "dmis_16_decay_starts_again": [
        f"{TRAINING}::test_training_in_stages_resumes_bit_equal",
    ],
    "dmis_17_unlearning": [
        f"{DMIS}::test_held_out_sets_become_likelier_while_it_trains",
    ],
    "dmis_18_forgotten_teacher": [
        f"{IMPRECISE_TRAINING}::test_estimated_work_is_a_count_by_hand",
    ],
    "features_01_open_block": [
        f"{FEATURES}/test_torch.py::test_features_do_not_depend_on_batch_split_or_order",
    ],
    "features_02_turned_rows": [
        f"{FEATURES}/test_torch.py::test_features_do_not_depend_on_batch_split_or_order",
        f"{FEATURES}/test_image_forms.py::test_streams_give_the_same_features_in_order",
    ],
    "features_03_trusted_shard": [
        f"{FEATURES}/test_store.py::test_damaged_shard_is_removed_and_missed",
        f"{FEATURES}/test_cache.py::test_shard_damaged_inside_is_computed_again",
    ],
    "features_04_no_claims": [
        f"{FEATURES}/test_store.py::test_key_is_claimed_once",
        f"{FEATURES}/test_store.py::test_threads_share_a_folder",
    ],
    "features_05_lost_work": [
        f"{FEATURES}/test_cache.py::test_interrupted_work_is_kept",
    ],
    "features_06_copies_encoded_again": [
        f"{FEATURES}/test_cache.py::test_order_and_copies_do_not_matter",
    ],
    "features_07_one_class_too_many": [
        f"{FEATURES}/test_zero_shot.py"
        "::test_candidates_are_the_smallest_sets_that_reach_the_mass",
    ],
    "features_08_random_pooler": [
        f"{FEATURES}/test_vision.py::test_features_equal_a_direct_call_of_transformers",
    ],
    "features_09_channels_kept": [
        f"{FEATURES}/test_image_forms.py"
        "::test_every_form_of_the_same_images_gives_the_same_features",
    ],
    "features_10_unsorted_texts": [
        f"{FEATURES}/test_text.py::test_short_texts_pass_through_in_short_blocks",
    ],
}


def copy_package(folder: Path) -> None:
    """Copy the package and its tests."""
    unwanted = shutil.ignore_patterns("__pycache__", "mutants")
    for name in COPIED:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, folder / name, ignore=unwanted)
        else:
            shutil.copy(ROOT / name, folder / name)


def environment(folder: Path) -> dict[str, str]:
    """Variables under which the copy is the package that is imported."""
    settings = os.environ | dict.fromkeys(THREADS, "1")
    settings |= {"PYTHONPATH": str(folder), "PYTHONDONTWRITEBYTECODE": "1"}
    beside = ROOT.parent / "shared" / "data"
    if not settings.get("SKLABELDIFF_DATA"):
        settings["SKLABELDIFF_DATA"] = str(beside) if beside.is_dir() else "none"
    return settings


def run_tests(folder: Path, tests: list[str]) -> dict[str, str]:
    """Run tests against the copy; "green", "red" or "missing" for each."""
    settings = environment(folder)
    # The origin is found without running the package, which takes seconds.
    script = "import importlib.util as u; print(u.find_spec('sklabeldiff').origin)"
    imported = subprocess.run(
        [sys.executable, "-c", script],
        cwd=folder,
        env=settings,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.strip()
    if Path(imported).parent != folder / "sklabeldiff":
        raise RuntimeError(f"The tests would import {imported}, not the copy.")
    report = folder / "report.xml"
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"]
    done = subprocess.run(
        [*command, f"--rootdir={folder}", f"--junitxml={report}", *tests],
        cwd=folder,
        env=settings,
        capture_output=True,
        text=True,
    )
    # 0 and 1: the tests ran. Anything else is no verdict on the package.
    if done.returncode not in (0, 1) or not report.exists():
        print(done.stdout[-2000:], done.stderr[-2000:], file=sys.stderr)
        return dict.fromkeys(tests, "missing")
    return verdicts(report, tests)


def verdicts(report: Path, tests: list[str]) -> dict[str, str]:
    """Read a junit report. One red case of a parametrised test makes it red."""
    found = dict.fromkeys(tests, "missing")
    for case in ElementTree.parse(report).iter("testcase"):
        # Folders and the file, then the class, if there is one.
        names = case.get("classname", "").split(".")
        file = "/".join(name for name in names if not name[0].isupper()) + ".py"
        inner = [name for name in names if name[0].isupper()]
        node = "::".join([file, *inner, case.get("name", "").partition("[")[0]])
        if node in found and case.find("skipped") is None:
            failed = any(case.find(tag) is not None for tag in ("failure", "error"))
            found[node] = "red" if failed or found[node] == "red" else "green"
    return found


def try_mutant(name: str) -> list[str]:
    """Return what is wrong: nothing if every test of the mutant went red."""
    with tempfile.TemporaryDirectory(prefix="mutant-") as temporary:
        folder = Path(temporary).resolve()
        copy_package(folder)
        applied = subprocess.run(
            ["git", "apply", str(HERE / f"{name}.patch")],
            cwd=folder,
            env=os.environ | {"GIT_CEILING_DIRECTORIES": str(folder.parent)},
            capture_output=True,
            text=True,
        )
        if applied.returncode:
            return [f"the patch does not apply: {applied.stderr.strip()}"]
        results = run_tests(folder, MUTANTS[name])
    return [
        f"{node} is {result}" for node, result in results.items() if result != "red"
    ]


def try_unbroken(tests: list[str]) -> list[str]:
    """Return the tests that are not green without any patch."""
    with tempfile.TemporaryDirectory(prefix="mutant-") as temporary:
        folder = Path(temporary).resolve()
        copy_package(folder)
        results = run_tests(folder, tests)
    return [f"{node} is {r}" for node, r in results.items() if r != "green"]


def main() -> int:
    """Run what the command line asks for."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("checks", nargs="*", help="starts of names; all if none")
    parser.add_argument("-j", type=int, default=os.cpu_count() or 1, help="at a time")
    parser.add_argument(
        "--skip-unbroken", action="store_true", help="do not test the unbroken copy"
    )
    args = parser.parse_args()

    unlisted = {path.stem for path in HERE.glob("*.patch")} ^ MUTANTS.keys()
    if unlisted:
        print(f"Patches and table differ: {sorted(unlisted)}")
        return 1
    starts = tuple(args.checks) or ("",)
    names = [name for name in MUTANTS if name.startswith(starts)]
    jobs = {name: lambda name=name: try_mutant(name) for name in names}
    if not args.skip_unbroken:
        tests = list(dict.fromkeys(test for name in names for test in MUTANTS[name]))
        jobs["unbroken"] = lambda: try_unbroken(tests)
    # The longest job first.
    order = sorted(jobs, key=lambda name: name != "unbroken")
    survivors = 0
    with ThreadPoolExecutor(args.j) as pool:
        running = {name: pool.submit(jobs[name]) for name in order}
        for name in order:
            wrong = running[name].result()
            survivors += bool(wrong)
            print(f"{'FAIL' if wrong else 'ok  '} {name}", *wrong, sep="\n     ")
            sys.stdout.flush()
    return 1 if survivors else 0


if __name__ == "__main__":
    raise SystemExit(main())
