from lab.configuration import dotted_keys


def test_settings_are_named_as_on_the_command_line() -> None:
    config = {
        "seed_everything": 0,
        "model": {"class_path": "lab.models.Triplet", "init_args": {"encoder": {"class_path": "MLP", "init_args": {}}}},
        "data": {"class_path": "lab.data.MNIST"},
        "trainer": {"callbacks": [{"class_path": "Mine"}], "logger": None, "plugins": {}},
    }
    assert dotted_keys(config) == {
        "seed_everything": 0,
        "model": "lab.models.Triplet",
        "model.encoder": "MLP",
        "data": "lab.data.MNIST",
        "trainer.callbacks": [{"class_path": "Mine"}],
        "trainer.logger": None,
        "trainer.plugins": {},
    }
