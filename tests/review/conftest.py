from review_session import small  # noqa: F401
