"""torchsde's methods behind our face."""


def solver(name, equation):
    return None


def is_name(name):
    return False
