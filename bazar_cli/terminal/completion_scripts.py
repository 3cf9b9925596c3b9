"""The completion scripts of the shells. Each runs `bazar __complete` and inserts the answer."""

from __future__ import annotations

from bazar_cli.domain.text_enum import TextEnum


class Shell(TextEnum):
    """The shells that have a script."""

    BASH = "bash"
    ZSH = "zsh"
    FISH = "fish"


# Readline splits `--output=js` into three words and keeps the quotes. So the function splits the line itself and never
# evaluates it; `start` is where readline's last word begins in that of the function.
_BASH = r"""# bash completion of bazar. In ~/.bashrc: eval "$(bazar completion bash)"

_bazar() {
    local line=${COMP_LINE:0:COMP_POINT} word='' quote='' inside='' start=0 i c words=()
    for ((i = 0; i < ${#line}; i++)); do
        c=${line:i:1}
        if [[ $c == "$quote" ]]; then
            quote=''
        elif [[ $c == \\ && $quote != "'" ]]; then
            i=$((i + 1)) inside=1
            word+=${line:i:1}
        elif [[ -n $quote ]]; then
            word+=$c
        elif [[ $c == [\'\"] ]]; then
            quote=$c inside=1
        elif [[ $c == [[:space:]] ]]; then
            if [[ -n $inside ]]; then words+=("$word"); fi
            word='' inside='' start=0
        else
            word+=$c inside=1
            if [[ $COMP_WORDBREAKS == *"$c"* ]]; then start=${#word}; fi
        fi
    done

    # Use the typed program if it exists: ./bazar completes itself.
    local program=${words[0]}
    if [[ $program == "~/"* ]]; then program=$HOME/${program:2}; fi
    if ! type -P "$program" >/dev/null; then program=bazar; fi

    local candidate prefix=''
    COMPREPLY=()
    while IFS= read -r candidate; do
        candidate=${candidate%%$'\t'*}
        if [[ $candidate == :file ]]; then
            if [[ $word == --*=* ]]; then prefix=${word%%=*}=; fi
            # Readline completes files best, unless its word holds the option's name too.
            if ((start >= ${#prefix})) && compopt -o default 2>/dev/null; then return; fi
            compopt -o filenames 2>/dev/null
            while IFS= read -r candidate; do
                if [[ -n $candidate ]]; then COMPREPLY+=("${candidate:start}"); fi
            done <<<"$(compgen -P "$prefix" -f -- "${word#"$prefix"}")"
        elif [[ -n $candidate ]]; then
            COMPREPLY+=("${candidate:start}")
        fi
    done <<<"$(command "$program" __complete "${words[@]:1}" "$word" 2>/dev/null)"
}

complete -F _bazar bazar
"""

_ZSH = r"""#compdef bazar
# zsh completion of bazar. In ~/.zshrc, after compinit: eval "$(bazar completion zsh)"
# or keep it as a file named _bazar in a folder of $fpath.

_bazar() {
    local program=${${(Q)words[1]}/#\~\//$HOME/} line value
    local -a answer candidates
    # Use the typed program if it exists: ./bazar completes itself.
    (( $+commands[$program] )) || [[ -f $program && -x $program ]] || program=bazar
    answer=("${(@f)$(command $program __complete "${(@Q)words[2,CURRENT-1]}" "${(Q)PREFIX}" 2>/dev/null)}")

    # The value of --option=value is completed alone.
    compset -P 1 '--*='
    if [[ $answer[1] == :file ]]; then
        _files
        return
    fi
    for line in ${answer:#}; do
        value=${${line%%$'\t'*}#$IPREFIX}
        if [[ $line == *$'\t'* ]]; then
            candidates+=("${value//:/\\:}:${line#*$'\t'}")
        else
            candidates+=("${value//:/\\:}")
        fi
    done
    _describe 'bazar' candidates
}

if [[ $funcstack[1] == _bazar ]]; then
    _bazar "$@"
else
    compdef _bazar bazar
fi
"""

_FISH = r"""# fish completion of bazar. In ~/.config/fish/config.fish: bazar completion fish | source

function __bazar_complete
    set -l words (commandline -opc)
    set -l token (commandline -ct)
    # Use the typed program if it exists: ./bazar completes itself.
    set -l program (string replace -r '^~/' "$HOME/" -- $words[1])
    command -q -- $program; or set program bazar
    set -e words[1]

    # A quote that is still open is no part of the word.
    set -l word (string replace -r '^(--[^=]*=)?["\']' '$1' -- "$token")
    set -l answer (command $program __complete $words "$word" 2>/dev/null)
    if test "$answer" = :file
        # Files, after a command without completions.
        set -l prefix (string match -r '^--[^=]*=' -- "$token")
        for path in (complete -C "'' "(string replace -r '^--[^=]*=' '' -- "$token"))
            echo "$prefix$path"
        end
    else
        string join \n -- $answer
    end
end

complete -c bazar -e
complete -c bazar -f -a '(__bazar_complete)'
"""
_SCRIPTS = {Shell.BASH: _BASH, Shell.ZSH: _ZSH, Shell.FISH: _FISH}
FILES = {Shell.BASH: "bazar.bash", Shell.ZSH: "_bazar", Shell.FISH: "bazar.fish"}
"""The file name that each shell expects."""


def script(shell: Shell) -> str:
    """Return the whole script of a shell."""
    return _SCRIPTS[shell]
