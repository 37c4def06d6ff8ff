"""LiteLLM's keys that we know and do not act on, section by section; what `load` reads is known by its reading.

Source: LiteLLM's "All settings" page, its `types/router.py`, release 1.81. A key in none of these tables is taken
for a mistake in writing.
"""

from __future__ import annotations

import re


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


TOP_LEVEL = _words("""
    mcp_servers mcp_tools vector_store_registry prompts search_tools
    finetune_settings assistant_settings agent_list policies policy_attachments sandbox_settings skills
    default_vertex_config cache_params
""")

ENTRY = _words("blocked")

LITELLM_PARAMS = _words("""
    azure_username azure_password
    azure_ad_token_provider bucket_name gcs_bucket_name itpm otpm
    default_api_key_tpm_limit default_api_key_rpm_limit
    cache_creation_input_audio_token_cost
    cache_read_input_audio_token_cost input_cost_per_second output_cost_per_second input_cost_per_pixel
    output_cost_per_pixel input_cost_per_image output_cost_per_image input_cost_per_character
    output_cost_per_character input_cost_per_query
    tiered_pricing
    mock_timeout use_in_pass_through configurable_clientside_auth_params
    merge_reasoning_content_in_choices auto_router_config auto_router_config_path auto_router_default_model
    auto_router_embedding_model complexity_router_config complexity_router_default_model model_info
    litellm_trace_id litellm_session_id max_file_size_mb keepalive_seconds allow_client_keepalive_override
    provider_affinity_header use_litellm_proxy use_chat_completions_api vector_store_id vector_store_ids guardrails
    cache caching cache_control_injection_points num_retries_per_request force_timeout model_list
    custom_prompt_dict roles initial_prompt_value final_prompt_value bos_token eos_token hf_model_name
    prompt_id prompt_variables ignore_prompt_manager_model prompt_integration
    allowed_openai_params disable_add_transform_inline_image_block ssl_verify fallbacks
    context_window_fallbacks context_window_fallback_dict metadata litellm_metadata no-log litellm_logging_obj
    watsonx_region_name project space_id preset_cache_key
""")

LITELLM_PARAMS_PATTERN = re.compile(
    r"(?:aws|vertex|s3|bedrock|sagemaker|langfuse|langsmith|gcs|oci|sap|watsonx)_[a-z0-9_]+\Z|"
    r"(?:input|output|cache_\w+?)_cost_per_\w+\Z|cache_\w+_cost(?:_above_\w+)?\Z|complexity_router_\w+\Z"
)

REQUEST_PARAMS = _words("""
    temperature max_tokens max_completion_tokens top_p n stop presence_penalty frequency_penalty logit_bias logprobs
    top_logprobs seed user response_format tools tool_choice parallel_tool_calls functions function_call
    reasoning_effort verbosity service_tier store prediction modalities audio stream_options web_search_options
    prompt_cache_key prompt_cache_retention safety_identifier dimensions encoding_format suffix echo best_of
    top_k top_a min_p typical_p repetition_penalty length_penalty min_tokens stop_token_ids ignore_eos
    skip_special_tokens spaces_between_special_tokens truncate_prompt_tokens add_generation_prompt chat_template
    chat_template_kwargs include_stop_str_in_output guided_json guided_regex guided_choice guided_grammar
    structured_outputs best_of use_beam_search early_stopping include_reasoning reasoning thinking enable_thinking
    thinking_budget transforms models route provider plugins safe_prompt random_seed keep_alive num_ctx
    mirostat mirostat_eta mirostat_tau num_gpu num_thread repeat_last_n tfs_z format options
    search_domain_filter search_recency_filter return_images return_related_questions search_mode
    input_type truncate task late_chunking normalized embedding_type safety_settings extra_query
    context_length_exceeded_behavior raw_output data_sources
""")
"""Fields of a request that may have a default per deployment: OpenAI's, and those of servers that speak its dialect."""

REFUSED_DEFAULTS = _words("model messages prompt input stream")
"""Would replace what the client asks for, rather than complete it."""

MODEL_INFO = _words("""
    team_id team_public_model_name tier health_check_voice access_windows internal_router_model
    enable_tag_filtering allow_fail_open blocked discoverable ptu_count cost_per_ptu_per_hour ptu_effective_from
    ptu_effective_to regional_processing_uplift_multiplier
""")

MODEL_INFO_METADATA = _words("""
    db_model version description created_at created_by updated_at updated_by key litellm_provider source
    max_query_tokens output_vector_size rpm tpm supported_openai_params supported_endpoints supported_modalities
    supported_output_modalities supported_regions deprecation_date metadata display_name notes owner
    supports_system_messages tool_use_system_prompt_tokens
""")
"""Tells something to people and asks nothing of a gateway."""

LITELLM_SETTINGS = _words("""
    modify_params force_ipv4 service_callbacks
    audit_log_callbacks turn_off_message_logging redact_user_api_key_info redact_messages_in_exceptions
    enable_caching_on_provider_specific_optional_params max_budget budget_duration default_team_settings
    default_team_params default_internal_user_params max_internal_user_budget internal_user_budget_duration
    default_max_internal_user_budget upperbound_key_generate_params default_key_generate_params
    key_generation_settings public_model_groups public_model_groups_links mcp_aliases
    custom_prometheus_metadata_labels custom_prometheus_tags langfuse_default_tags enable_preview_features
    disable_end_user_cost_tracking disable_end_user_cost_tracking_prometheus_only
    enable_end_user_cost_tracking_prometheus_only disable_add_transform_inline_image_block
    use_chat_completions_url_for_anthropic_messages disable_hf_tokenizer_download enable_json_schema_validation
    enable_key_alias_format_validation disable_copilot_system_to_assistant LITELLM_DISABLE_STOP_SEQUENCE_LIMIT
    telemetry add_user_information_to_llm_headers gcs_pub_sub_use_v1 datadog_params
    datadog_llm_observability_params arize_params post_call_rules pre_call_rules input_callback
    forward_traceparent_to_llm_provider store_audit_logs disable_stop_sequence_limit ssl_certificate
    ssl_security_level ssl_ecdh_curve aiohttp_trust_env disable_aiohttp_transport disable_aiohttp_trust_env
    user_url_validation model_alias_map model_cost custom_provider_map cost_discount_config cost_margin_config
    suppress_debug_info log_raw_request_response return_response_headers api_base api_key api_version organization
    headers max_tokens openai_key azure_key anthropic_key cohere_key vertex_project vertex_location credential_list
    global_disable_no_log_param disable_no_log_param priority_reservation priority_reservation_settings
    extra_spend_tag_headers allowed_openai_params retry check_provider_endpoint use_client blocked_user_list
    banned_keywords_list guardrails detect_prompt_injection prompt_injection_params content_policy_fallback
    default_redis_ttl default_redis_batch_cache_expiry default_in_memory_ttl generic_logger_headers
    global_prompt_directory global_bitbucket_config responses_api_deployment_check
    reasoning_auto_summary redact_standard_logging_payload callback_settings email store_model_in_db
    token_counter drop_unsupported_params budget_alert_ttl forward_llm_provider_auth_headers
    routing_strategy
""")

LITELLM_SETTINGS_PATTERN = re.compile(r"(?:prometheus|otel|langfuse|mcp|anthropic|cache|default_redis)_[a-z0-9_]+\Z")

ROUTER_SETTINGS = _words("""
    cache_kwargs
    enable_pre_call_check tag_routing_prefix
    cache_responses caching_groups client_ttl
    model_group_affinity_config default_priority polling_interval debug_level
    alerting_config assistants_config set_verbose router_general_settings search_tools guardrail_list routing_groups
    weights enable_health_check_routing health_check_staleness_threshold default_max_retries max_retries
    stream_timeout_per_chunk semaphore enable_weighted_failover
""")

ROUTING_STRATEGY_ARGS = _words("""
    llm_data_path config_path model_s3_bucket model_s3_key embedding_model embedding_device label_mapping
    use_inference_only ttl lowest_latency_buffer max_latency_list_size rolling_window_size cache_ttl router_name
    router_type cold_start_model metrics_path model_version
""")

GENERAL_SETTINGS = _words("""
    database_url database_type database_args database_connection_pool_limit database_connection_timeout
    database_extra_connection_params database_socket_timeout
    store_model_in_db supported_db_objects store_prompts_in_spend_logs disable_spend_logs disable_spend_updates
    disable_error_logs disable_master_key_return disable_retry_on_max_parallel_request_limit_error
    disable_reset_budget disable_adding_master_key_hash_to_db disable_responses_id_security
    disable_prisma_schema_update
    maximum_spend_logs_cleanup_cron proxy_batch_write_at proxy_batch_polling_interval
    proxy_budget_rescheduler_min_time proxy_budget_rescheduler_max_time allow_requests_on_db_unavailable
    user_api_key_cache_ttl max_parallel_requests global_max_parallel_requests infer_model_from_keys
    use_shared_health_check alerting alerting_threshold
    alert_types alerting_args spend_report_frequency custom_auth custom_auth_run_common_checks
    custom_sso custom_key_generate custom_key_update custom_ui_sso_sign_in_handler enable_jwt_auth litellm_jwtauth
    enable_oauth2_auth
    enable_oauth2_proxy_auth oauth2_config_mappings user_header_name user_header_mappings
    allowed_ips use_x_forwarded_for allowed_routes public_routes admin_only_routes enforced_params
    enforce_user_param reject_clientside_metadata_tags forward_client_headers_to_llm_api
    forward_openai_org_id forward_llm_provider_auth_headers use_client_credentials_pass_through_routes
    key_management_system key_management_settings use_azure_key_vault use_google_kms use_aws_secret_manager
    ui_access_mode completion_model embedding_model image_generation_model moderation_model
    token_rate_limit_type service_account_settings default_team_disabled allow_user_auth
    allow_client_side_credentials litellm_license dynamo_db_ user_mcp_management_mode mcp_client_side_auth_header_name
    mcp_internal_ip_ranges mcp_required_fields mcp_trusted_proxy_ranges role_permissions
    always_include_stream_usage disable_copilot_system_to_assistant enable_health_check_routing
    health_check_staleness_threshold store_audit_logs coordinate_redis docs_url redoc_url disable_usage_tracking
    disable_telemetry allowed_origins block_robots control_plane_url worker_registry use_redis_transaction_buffer
    enable_mcp_registry disable_budget_reservation auto_redirect_ui_login_to_sso
    database_disable_prepared_statements send_invite_email user_api_key_cache_max_size_in_memory
    enable_openapi_docs cold_storage_custom_logger model_cost_map_url
""")

SHARED_STORES = ("database_url", "redis_url", "redis_host", "redis_port", "redis_password")
"""An unset variable here would quietly split one deployment's limits and keys into many: it stops the start."""
CACHE_STORE = ("host", "port", "password", "url")

BUILT_STRATEGIES = frozenset({
    "simple-shuffle", "least-busy", "latency-based-routing", "cost-based-routing", "usage-based-routing",
    "usage-based-routing-v2", "provider-budget-routing",
})  # fmt: skip
AFFINITY_CHECKS = frozenset({
    "prompt_caching", "session_affinity", "deployment_affinity", "responses_api_deployment_check",
})  # fmt: skip
CHECKS_ALWAYS_MADE = frozenset({"enforce_model_rate_limits", "router_budget_limiting"})
"""Whether they are named or not: limits and budgets of deployments and providers hold."""
CHECKS_WITHOUT_EFFECT = frozenset({"forward_client_headers_by_model_group", "encrypted_content_affinity"})
LEARNED_PREFIX = "llmrouter-"

SERVED_MODES = frozenset({
    "chat", "completion", "embedding", "image_generation", "image_edit", "audio_transcription", "audio_speech",
    "moderation", "rerank", "batch", "responses",
})  # fmt: skip
OTHER_MODES = _words("""
    moderations realtime video_generation ocr search vector_store
""")
