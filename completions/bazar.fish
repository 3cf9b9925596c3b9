# fish completion of bazar. In ~/.config/fish/config.fish: bazar completion fish | source

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
