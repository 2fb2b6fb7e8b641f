"""torchdiffeq's methods behind our face."""


def solver(name):
    return None


def is_name(name):
    return False
