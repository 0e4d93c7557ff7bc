import pytest

from tests.support.images import make_image


@pytest.fixture
def flask(app, monkeypatch):
    """Run `flask` with the fake model; return its status, output and errors."""
    monkeypatch.setenv("ENDPOINT_MODEL", "")  # `flask bake --model` sets it.

    def run(*arguments, app=app, **options):
        arguments = [str(argument) for argument in arguments]
        result = app.test_cli_runner().invoke(args=arguments, **options)
        return result.exit_code, result.stdout, result.stderr

    return run


@pytest.fixture
def folder(tmp_path):
    """Ten images of different widths, one more in a subfolder, and a text."""
    folder = tmp_path / "images"
    (folder / "below").mkdir(parents=True)
    for width in range(30, 40):
        (folder / f"{width}.png").write_bytes(make_image(width, 8))
    (folder / "below" / "50.webp").write_bytes(make_image(50, 8, "WEBP"))
    (folder / "notes.txt").write_text("not an image")
    return folder
